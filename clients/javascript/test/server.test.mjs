/** Starting and finding a server: against the real program. */

import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { chmod, mkdtemp, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, before, beforeEach, test } from "node:test";
import { promisify } from "node:util";
import { CreateStageCommand, IVSRealTimeClient, ListStagesCommand } from "@aws-sdk/client-ivs-realtime";
import { Server, ServerError, TestApiMissing } from "@greenroom/testkit";

const TOP = resolve(import.meta.dirname, "..");
const program = resolve(process.env.GREENROOM_BIN ?? "");
let folder, saved;

before(() => assert.ok(process.env.GREENROOM_BIN, "GREENROOM_BIN must name the server's program"));
beforeEach(async () => {
  saved = { ...process.env };
  for (const name of Object.keys(process.env)) if (name.startsWith("GREENROOM_")) delete process.env[name];
  folder = await mkdtemp(join(tmpdir(), "greenroom-test-"));
});
afterEach(() => {
  for (const name of Object.keys(process.env)) if (!(name in saved)) delete process.env[name];
  Object.assign(process.env, saved);
});

const clientOf = async (account) => new IVSRealTimeClient((await account).clientConfig());
const create = (ivs, name) => ivs.send(new CreateStageCommand({ name }));

test("a server starts and stops", async () => {
  const server = await Server.start({ binary: program });
  const { stage } = await create(await clientOf(server.isolated()), "lobby");
  assert.match(stage.arn, /^arn:aws:ivs:us-east-1:\d{12}:stage\//);
  assert.match(await server.log(), /ready/);
  await server.stop();
  assert.equal(await server.isReady(), false);
  await server.stop();
});

test("a temporary store and further settings", async () => {
  const options = { store: "temporary", region: "eu-west-1", args: ["--quotas", "stages=1"], env: { GREENROOM_REGIONS: "eu-west-1" } };
  const server = await Server.start({ binary: program, ...options });
  const ivs = await clientOf(server.isolated());
  assert.match((await create(ivs, "lobby")).stage.arn, /:eu-west-1:/);
  await assert.rejects(create(ivs, "second"), { name: "ServiceQuotaExceededException" });
  await server.stop();
});

test("a server that does not start is an error with its log", async () => {
  await assert.rejects(Server.start({ binary: program, args: ["--no-such-flag"] }), (error) => {
    return error instanceof ServerError && /exit code 2[^]*--no-such-flag/.test(error.message);
  });
  await assert.rejects(Server.start({ binary: "/no/such/program" }), /\/no\/such\/program: ENOENT/);
});

test("the program is found on the PATH", async () => {
  process.env.PATH = folder;
  await assert.rejects(Server.start(), /GREENROOM_BIN/);
  await symlink(program, join(folder, "greenroom"));
  const server = await Server.start();
  assert.equal(await server.isReady(), true);
  // An endpoint that runs is used, and not stopped.
  process.env.GREENROOM_ENDPOINT = server.endpoint;
  const same = await Server.start();
  assert.equal(same.endpoint, server.endpoint);
  await same.stop();
  assert.equal(await server.isReady(), true);
  await server.stop();
  await assert.rejects(Server.start(), /is not ready/);
});

test("the test API is missing without its flag", async () => {
  const script = join(folder, "greenroom");
  await writeFile(script, `#!/bin/bash\nexec ${program} "\${@/--test-api=on/--test-api=off}"\n`);
  await chmod(script, 0o755);
  const server = await Server.start({ binary: script });
  await assert.rejects((await server.account()).reset(), (error) => error instanceof TestApiMissing && /--test-api=on/.test(error.message));
  await server.stop();
});

test("the server ends with the program that started it", async () => {
  const script = `
    import { Server } from "@greenroom/testkit";
    const server = await Server.start({ binary: ${JSON.stringify(program)} });
    console.log(server.endpoint);
    process.exit(0);
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], { cwd: TOP });
  assert.equal(await new Server(stdout.trim()).isReady(), false);
});

test("the server ends with a program that ends by a signal", async () => {
  const [script, log, life] = ["greenroom", "log", "life"].map((name) => join(folder, name));
  execFileSync("mkfifo", [life]);
  await writeFile(script, `#!/bin/bash\nexec ${program} "$@" 2>${log} 9>${life}\n`);
  await chmod(script, 0o755);
  // Ends when the server ends, which has the other end.
  const ended = once(createReadStream(life).resume(), "end");
  const code = `
    import { Server } from "@greenroom/testkit";
    const server = await Server.start({ binary: ${JSON.stringify(script)} });
    console.log(server.endpoint);
    setInterval(() => {}, 1_000_000);
  `;
  const holder = spawn(process.execPath, ["--input-type=module", "--eval", code], { cwd: TOP, stdio: ["ignore", "pipe", "inherit"] });
  const [endpoint] = await once(holder.stdout.setEncoding("utf8"), "data");
  assert.equal(await new Server(endpoint.trim()).isReady(), true);
  holder.kill("SIGKILL");
  await ended;
  assert.equal(await new Server(endpoint.trim()).isReady(), false);
  assert.match(await readFile(log, "utf8"), /stopping[^\n]*standard input closed[^]*stopped/);
});

test("an image is started with signed requests", async () => {
  const docker = join(folder, "docker");
  const fake = await readFile(join(TOP, "..", "python", "tests", "fake_docker.py"), "utf8");
  await writeFile(docker, fake.replace("#!python", "#!/usr/bin/env python3"));
  await chmod(docker, 0o755);
  Object.assign(process.env, { GREENROOM_DOCKER: docker, FAKE_DOCKER: folder, FAKE_DOCKER_PROGRAM: program });
  const server = await Server.start({ image: "greenroom:test" });
  const [one, other] = [await server.isolated(), await server.isolated()];
  await create(await clientOf(one), "lobby");
  assert.equal((await (await clientOf(other)).send(new ListStagesCommand({}))).stages.length, 0);
  await one.frozen((clock) => clock.advance(1));
  await one.snapshots.take("a-name");
  assert.equal((await one.reset()).stages, 1);
  assert.match(await server.log(), /ready/);
  await server.stop();
  const calls = await readFile(join(folder, "calls"), "utf8");
  assert.ok(calls.includes("greenroom:test") && calls.includes("rm --force"));
  assert.ok(!calls.includes(server.credentials.secretAccessKey));
  const failing = Server.start({ image: "greenroom:test", args: ["--no-such-flag"] });
  await assert.rejects(failing, /the server ended[^]*--no-such-flag/);
  process.env.FAKE_DOCKER_PROGRAM = "";
  await assert.rejects(Server.start({ image: "greenroom:test" }), /Cannot connect to the Docker daemon/);
});
