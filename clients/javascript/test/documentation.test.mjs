/** The examples of the documentation: Vitest, Jest, Playwright, plain Node; and the sample front end. */

import assert from "node:assert/strict";
import { cp, mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { TOP, makeProject } from "./project.mjs";

const REPOSITORY = resolve(TOP, "..", "..");
let project;

before(async () => (project = await makeProject()));
after(() => project.remove());

/** The blocks of JavaScript of a page. */
async function blocks(name) {
  const page = await readFile(join(REPOSITORY, name), "utf8");
  return [...page.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => code);
}

test("the examples of the page JavaScript work", async () => {
  const [vitest, jest, playwright, plain, ...rest] = await blocks("docs/test/javascript.md");
  assert.equal(rest.length, 0);
  const config = await readFile(join(REPOSITORY, "docs/test/examples/frontend/playwright.config.mjs"), "utf8");
  await project.write({
    "v/example.test.mjs": vitest,
    "j/example.test.cjs": jest,
    "p/example.spec.mjs": playwright,
    "p/playwright.config.mjs": config,
    "plain.mjs": plain,
    "jest.config.json": JSON.stringify({ testMatch: ["**/j/*.test.cjs"] }),
  });
  for (const [program, ...args] of [
    ["vitest", "run", "--dir", "v"],
    ["jest", "--config", "jest.config.json"],
    ["playwright", "test", "--config", "p/playwright.config.mjs"],
  ]) {
    const { code, output } = await project.run(program, ...args);
    assert.equal(code, 0, `${program}: ${output}`);
    assert.match(output, /\b[12] passed\b/, `${program}: ${output}`);
  }
  const { code, output } = await project.node({}, "plain.mjs");
  assert.equal(code, 0, output);
  assert.match(output, /endpoint: 'http:\/\/127\.0\.0\.1:\d+'/);
});

test("the example of the README works", async () => {
  const [example, ...rest] = await blocks("clients/javascript/README.md");
  assert.equal(rest.length, 0);
  await project.write({ "r/example.test.mjs": example });
  const { code, output } = await project.run("vitest", "run", "--dir", "r");
  assert.equal(code, 0, output);
});

test("the tests of the sample front end pass", async () => {
  await cp(join(REPOSITORY, "docs/test/examples/frontend"), join(project.folder, "frontend"), { recursive: true });
  const { code, output } = await project.run("playwright", "test", "--config", "frontend/playwright.config.mjs");
  assert.equal(code, 0, output);
  assert.match(output, /\b5 passed\b/);
});

test("the sample front end uses the browser of CHROMIUM_BIN, Chromium or Chrome", async () => {
  const folder = join(project.folder, "browsers");
  await mkdir(folder);
  const config = join(REPOSITORY, "docs/test/examples/frontend/playwright.config.mjs");
  const browser = async (env) => {
    const code = `import config from ${JSON.stringify(config)}; console.log(config.use.launchOptions.executablePath);`;
    const { output } = await project.node({ PATH: `/no/such/folder:${folder}`, CHROMIUM_BIN: "", ...env }, "--input-type=module", "--eval", code);
    return output.trim();
  };
  assert.equal(await browser(), "undefined");
  for (const name of ["google-chrome", "chromium"]) {
    await project.write({ [`browsers/${name}`]: "" });
    assert.equal(await browser(), join(folder, name));
  }
  assert.equal(await browser({ CHROMIUM_BIN: "/opt/browser" }), "/opt/browser");
});

test("the report of a failed Playwright test has the last calls", async () => {
  const spec = `
    import { test } from "@greenroom/testkit/playwright";
    test("it", async ({ greenroom }) => {
      await greenroom.seed({ stages: [{ name: "lobby" }] });
      const { IVSRealTimeClient, ListStagesCommand } = await import("@aws-sdk/client-ivs-realtime");
      await new IVSRealTimeClient(greenroom.clientConfig()).send(new ListStagesCommand({}));
      throw new Error("on purpose");
    });
  `;
  await project.write({ "f/f.spec.mjs": spec });
  const { code, output } = await project.run("playwright", "test", "--reporter=line", "f/f.spec.mjs");
  assert.equal(code, 1);
  assert.match(output, /greenroom-journal[^]*ListStages \{\} -> 200/);
});
