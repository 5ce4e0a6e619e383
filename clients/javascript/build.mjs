// Compiles the package twice: ES modules and CommonJS, each with its types.
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const top = import.meta.dirname ?? dirname(new URL(import.meta.url).pathname);
const typescript = createRequire(import.meta.url).resolve("typescript/package.json");
const tsc = join(dirname(typescript), "bin", "tsc");

rmSync(join(top, "dist"), { recursive: true, force: true });
for (const [format, config, type] of [["esm", "tsconfig.json", "module"], ["cjs", "tsconfig.cjs.json", "commonjs"]]) {
  execFileSync(process.execPath, [tsc, "--project", join(top, config)], { stdio: "inherit" });
  writeFileSync(join(top, "dist", format, "package.json"), `${JSON.stringify({ type })}\n`);
}
