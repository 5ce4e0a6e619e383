/** The documented example for Node's test runner passes. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));

test("the example in the documentation passes", () => {
  const page = readFileSync(join(HERE, "../../docs/test/javascript.md"), "utf8");
  const [, program] = page.match(/^```js\n(.*?)^```$/ms);
  // In this directory, so that its imports resolve.
  const folder = mkdtempSync(join(HERE, "example-"));
  try {
    writeFileSync(join(folder, "lobby.test.mjs"), program);
    symlinkSync(resolve(process.env.GREENROOM_BIN), join(folder, "greenroom"));
    const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
    const env = { ...environment, PATH: `${folder}:${process.env.PATH}` };
    const ran = spawnSync(process.execPath, ["--test", "lobby.test.mjs"], { cwd: folder, env, encoding: "utf8" });
    assert.equal(ran.status, 0, ran.stdout + ran.stderr);
    assert.match(ran.stdout, /pass 1/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
