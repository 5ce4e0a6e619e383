/** The set-ups of Vitest and Jest: a user's project with the packed kit, run by the real runners. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { makeProject } from "./project.mjs";

const CREATE = `
import { CreateStageCommand, IVSRealTimeClient, ListStagesCommand } from "@aws-sdk/client-ivs-realtime";
import { appendFileSync } from "node:fs";

export async function createOne(greenroom, name) {
  const ivs = new IVSRealTimeClient(greenroom.clientConfig());
  await ivs.send(new CreateStageCommand({ name }));
  const { stages } = await ivs.send(new ListStagesCommand({}));
  appendFileSync("seen", greenroom.endpoint + " " + greenroom.account + "\\n");
  return stages.map((stage) => stage.name);
}
`;

let project;
before(async () => (project = await makeProject()));
after(() => project.remove());
beforeEach(() => project.write({ seen: "" }));

/** The endpoints and accounts that tests of the project have used. */
async function seen() {
  const lines = (await readFile(join(project.folder, "seen"), "utf8")).trim().split("\n").map((line) => line.split(" "));
  await project.write({ seen: "" });
  return { endpoints: new Set(lines.map(([endpoint]) => endpoint)), accounts: new Set(lines.map(([, account]) => account)) };
}

function vitestFile(number) {
  return `
    import { describe, expect } from "vitest";
    import { test, useGreenroom } from "@greenroom/testkit/vitest";
    import { createOne } from "../create.mjs";

    for (let i = 0; i < 3; i++) {
      test("isolated " + i, async ({ greenroom }) => {
        expect(await createOne(greenroom, "stage-${number}-" + i)).toEqual(["stage-${number}-" + i]);
      });
    }
    describe("with hooks", () => {
      const kit = useGreenroom();
      for (let i = 0; i < 2; i++) {
        test("isolated " + i, async () => expect(await createOne(kit.greenroom, "lobby")).toEqual(["lobby"]));
      }
    });
  `;
}

test("Vitest: a server for each file, an account for each test", async () => {
  await project.write({ "create.mjs": CREATE, "v/a.test.mjs": vitestFile(1), "v/b.test.mjs": vitestFile(2) });
  const { code, output } = await project.run("vitest", "run", "--dir", "v");
  assert.equal(code, 0, output);
  assert.match(output, /Tests\s+10 passed/);
  const { endpoints, accounts } = await seen();
  // Two for the fixture and two for the hooks.
  assert.deepEqual([endpoints.size, accounts.size], [4, 10]);
});

test("Vitest: one server for all files", async () => {
  const config = 'export default { test: { globalSetup: "@greenroom/testkit/global-setup" } };';
  await project.write({ "create.mjs": CREATE, "v/a.test.mjs": vitestFile(1), "v/b.test.mjs": vitestFile(2), "vitest.config.mjs": config });
  const { code, output } = await project.run("vitest", "run", "--dir", "v");
  assert.equal(code, 0, output);
  const { endpoints, accounts } = await seen();
  assert.deepEqual([endpoints.size, accounts.size], [1, 10]);
  await assert.rejects(fetch([...endpoints][0]), "the shared server is stopped");
});

test("Vitest: a failed test shows its last calls", async () => {
  const failing = `
    import { test } from "@greenroom/testkit/vitest";
    import { createOne } from "../create.mjs";
    test("it", async ({ greenroom }) => {
      await createOne(greenroom, "lobby");
      throw new Error("on purpose");
    });
  `;
  await project.write({ "create.mjs": CREATE, "f/f.test.mjs": failing, "vitest.config.mjs": "export default {};" });
  const { code, output } = await project.run("vitest", "run", "--dir", "f");
  assert.equal(code, 1);
  assert.match(output, /greenroom: last calls of account \d{12}[^]*CreateStage \{"name":"lobby"\} -> 200/);
});

const jestFile = (number) => `
  const { useGreenroom } = require("@greenroom/testkit/jest");
  const { CreateStageCommand, IVSRealTimeClient, ListStagesCommand } = require("@aws-sdk/client-ivs-realtime");
  const { appendFileSync } = require("node:fs");
  const kit = useGreenroom();

  test.each([1, 2, 3])("isolated %d", async (i) => {
    const { greenroom } = kit;
    const ivs = new IVSRealTimeClient(greenroom.clientConfig());
    await ivs.send(new CreateStageCommand({ name: "stage-${number}-" + i }));
    const { stages } = await ivs.send(new ListStagesCommand({}));
    expect(stages.map((stage) => stage.name)).toEqual(["stage-${number}-" + i]);
    appendFileSync("seen", greenroom.endpoint + " " + greenroom.account + "\\n");
  });
`;

test("Jest: a server for each file, or one for all", async () => {
  const config = (more) => JSON.stringify({ testEnvironment: "node", roots: ["<rootDir>/j"], ...more });
  await project.write({ "j/a.test.cjs": jestFile(1), "j/b.test.cjs": jestFile(2), "jest.config.json": config({ testMatch: ["**/*.test.cjs"] }) });
  const own = await project.run("jest", "--config", "jest.config.json");
  assert.equal(own.code, 0, own.output);
  assert.match(own.output, /Tests:\s+6 passed/);
  const apart = await seen();
  assert.deepEqual([apart.endpoints.size, apart.accounts.size], [2, 6]);

  const shared = { globalSetup: "@greenroom/testkit/global-setup", globalTeardown: "@greenroom/testkit/global-teardown" };
  await project.write({ "jest.config.json": config({ testMatch: ["**/*.test.cjs"], ...shared }) });
  const together = await project.run("jest", "--config", "jest.config.json");
  assert.equal(together.code, 0, together.output);
  const { endpoints, accounts } = await seen();
  assert.deepEqual([endpoints.size, accounts.size], [1, 6]);
  await assert.rejects(fetch([...endpoints][0]), "the shared server is stopped");
});

test("Jest: each run in watch mode has a server of its own", async () => {
  // After the first run it changes a test, which starts the second one, and then it ends Jest.
  const plugin = `
    const { writeFileSync } = require("node:fs");
    let runs = 0;
    module.exports = class {
      apply(hooks) {
        hooks.onTestRunComplete(() => (++runs === 1 ? writeFileSync("w/a.test.cjs", ${JSON.stringify(jestFile(2))}) : process.exit()));
      }
    };
  `;
  const config = {
    testEnvironment: "node",
    roots: ["<rootDir>/w"],
    testMatch: ["**/*.test.cjs"],
    watchman: false,
    watchPlugins: ["<rootDir>/plugin.cjs"],
    globalSetup: "@greenroom/testkit/global-setup",
    globalTeardown: "@greenroom/testkit/global-teardown",
  };
  await project.write({ "w/a.test.cjs": jestFile(1), "plugin.cjs": plugin, "jest.config.json": JSON.stringify(config) });
  const { code, output } = await project.run("jest", "--watchAll", "--config", "jest.config.json");
  assert.equal(code, 0, output);
  assert.equal(output.match(/Tests: +3 passed, 3 total/g)?.length, 2, output);
  assert.equal((await seen()).endpoints.size, 2);
});

test("the types are found from ES modules and from CommonJS", async () => {
  const use = `
    import { type Entry, Greenroom, Server } from "@greenroom/testkit";
    import { useGreenroom } from "@greenroom/testkit/jest";
    import { test } from "@greenroom/testkit/playwright";
    export async function use(server: Server): Promise<Entry[]> {
      const greenroom: Greenroom = await server.isolated();
      const alice = await greenroom.join("lobby", { userId: "alice", publish: true });
      await greenroom.join({ token: alice.token });
      // @ts-expect-error: neither a stage nor a token
      await greenroom.join({ userId: "bob" });
      await alice.mute("audio");
      // @ts-expect-error: not a kind of media
      await alice.mute("smell");
      return greenroom.calls("CreateStage");
    }
    test.use({ roomOptions: { others: ["bob"] } });
    useGreenroom();
  `;
  const vitest = `
    import { test } from "@greenroom/testkit/vitest";
    test("it", async ({ greenroom }) => { const account: string = greenroom.account; return void account; });
  `;
  const compilerOptions = { module: "nodenext", strict: true, noEmit: true, skipLibCheck: true, types: ["node"], target: "es2022" };
  await project.write({ "t/use.mts": use, "t/use.cts": use, "t/vitest.mts": vitest, "t/tsconfig.json": JSON.stringify({ compilerOptions }) });
  const { code, output } = await project.run("tsc", "--project", "t");
  assert.equal(code, 0, output);
});
