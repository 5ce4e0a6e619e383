/** A project of a user: the packed kit and the test runners in its node_modules. */

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

export const TOP = resolve(import.meta.dirname, "..");
const run = promisify(execFile);

export async function makeProject(type = "module") {
  const folder = await mkdtemp(join(tmpdir(), "greenroom-project-"));
  const installed = join(folder, "node_modules", "@greenroom", "testkit");
  await mkdir(installed, { recursive: true });
  const { stdout } = await run("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], { cwd: TOP });
  await run("tar", ["-xzf", join(folder, stdout.trim()), "-C", installed, "--strip-components=1"]);
  for (const name of await readdir(join(TOP, "node_modules"))) {
    if (!name.startsWith(".")) await symlink(join(TOP, "node_modules", name), join(folder, "node_modules", name));
  }
  await write(folder, { "package.json": JSON.stringify({ type, private: true }) });
  return {
    folder,
    write: (files) => write(folder, files),
    /** Runs a command of node_modules. */
    run: (name, ...args) => outcome(folder, join(TOP, "node_modules", ".bin", name), args),
    /** Runs Node with further variables. */
    node: (env, ...args) => outcome(folder, process.execPath, args, env),
    remove: () => rm(folder, { recursive: true }),
  };
}

async function write(folder, files) {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
}

/** Exit code and output of a command. */
async function outcome(folder, file, args, more = {}) {
  const env = { ...process.env, NO_COLOR: "1", CI: "1", ...more };
  for (const name of ["FORCE_COLOR", "NODE_TEST_CONTEXT"]) delete env[name];
  return run(file, args, { cwd: folder, env, maxBuffer: 64 << 20 }).then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    ({ code, stdout, stderr }) => ({ code, output: stdout + stderr }),
  );
}
