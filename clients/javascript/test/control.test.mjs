/** Each control of the client: against the real program. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import {
  CreateParticipantTokenCommand,
  CreateStageCommand,
  DeleteStageCommand,
  GetStageCommand,
  IVSRealTimeClient,
  ListParticipantsCommand,
  ListStageSessionsCommand,
  ListStagesCommand,
} from "@aws-sdk/client-ivs-realtime";
import { NotFound, Server, ValidationError, WaitTimeout } from "@greenroom/testkit";

let server, greenroom, ivs, stage;

before(async () => (server = await Server.start()));
after(() => server.stop());
beforeEach(async () => {
  greenroom = await server.isolated();
  ivs = new IVSRealTimeClient(greenroom.clientConfig());
  stage = (await ivs.send(new CreateStageCommand({ name: "lobby" }))).stage.arn;
});
afterEach(async () => {
  ivs.destroy();
  await greenroom.reset();
});

const stages = async () => (await ivs.send(new ListStagesCommand({}))).stages;
const single = () => new IVSRealTimeClient({ ...greenroom.clientConfig(), maxAttempts: 1 });

test("a reset deletes the resources of the account only", async () => {
  const other = await server.isolated();
  await other.seed({ stages: [{ name: "other" }] });
  assert.equal((await greenroom.reset()).stages, 1);
  assert.deepEqual(await stages(), []);
  assert.equal((await other.reset()).stages, 1);
});

test("a snapshot is restored, also from a file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "greenroom-test-"));
  const snapshot = await greenroom.snapshots.take("base");
  assert.equal(snapshot.rows.stages, 1);
  await snapshot.save(join(folder, "base.jsonl"));
  await ivs.send(new DeleteStageCommand({ arn: stage }));
  await snapshot.restore();
  assert.deepEqual((await stages()).map(({ arn }) => arn), [stage]);
  await snapshot.delete();
  await ivs.send(new DeleteStageCommand({ arn: stage }));
  await (await greenroom.snapshots.load(join(folder, "base.jsonl"), "from-a-file")).restore();
  assert.deepEqual((await stages()).map(({ arn }) => arn), [stage]);
  assert.deepEqual((await greenroom.snapshots.list()).map(({ name }) => name), ["from-a-file"]);
  await rm(folder, { recursive: true });
});

test("a seed creates resources and past sessions", async () => {
  const seeded = await greenroom.seed(`
stages:
  - name: demo
    sessions:
      - startedAt: 2026-01-01T10:00:00Z
        participants: [{userId: alice, joinsAt: 0, leavesAt: 60}]
tokens: [{stage: demo, userId: bob}]
accessKeys: [{name: ci}]
`);
  const [session] = seeded.sessions("demo");
  const input = { stageArn: seeded.arn("demo"), sessionId: session.sessionId };
  const { participants } = await ivs.send(new ListParticipantsCommand(input));
  assert.deepEqual(participants.map(({ userId }) => userId), ["alice"]);
  assert.equal((await greenroom.join({ token: seeded.tokens[0].token })).userId, "bob");
  const client = new IVSRealTimeClient({ ...greenroom.clientConfig(), credentials: seeded.accessKey("ci") });
  assert.equal((await client.send(new ListStagesCommand({}))).stages.length, 2);
  assert.throws(() => seeded.arn("x"), /no stages 'x', but demo/);
});

test("a session ends in frozen time", async () => {
  await greenroom.frozen(async (clock) => {
    const start = await clock.now();
    const alice = await greenroom.join(stage, { userId: "alice" });
    await clock.advance(30);
    await alice.leave();
    await clock.advance("61s");
    const { stageSessions } = await ivs.send(new ListStageSessionsCommand({ stageArn: stage }));
    assert.ok(stageSessions[0].endTime);
    assert.equal((await clock.now()) - start, 91_000);
  });
  assert.equal(await greenroom.clock.isFrozen(), false);
});

test("a token expires by time travel", async () => {
  const { participantToken } = await ivs.send(new CreateParticipantTokenCommand({ stageArn: stage, duration: 60 }));
  const { token } = participantToken;
  await greenroom.timeTravel({ by: "2h" }, () => assert.rejects(greenroom.join({ token }), /expired/i));
  assert.equal((await greenroom.join({ token })).state.state, "CONNECTED");
});

test("a participant acts", async () => {
  const bob = await greenroom.join(stage, { userId: "bob" });
  const alice = await greenroom.join(stage, { userId: "alice", attributes: { role: "host" }, publish: true });
  assert.deepEqual([alice.state.publishing, alice.state.attributes], [true, { role: "host" }]);
  assert.deepEqual((await bob.subscribe(alice)).state.subscriptions, [alice.id]);
  assert.deepEqual((await alice.mute("audio")).state.muted, ["audio"]);
  await alice.exchangeToken({ attributes: { role: "guest" } });
  await bob.unsubscribe(alice);
  await alice.reconnect();
  assert.equal((await greenroom.participants.list(stage)).length, 2);
  assert.equal((await alice.leave()).state.state, "DISCONNECTED");
  await assert.rejects(greenroom.participants.get("ABCDEFghij01"), NotFound);
});

test("scenarios run in virtual and in real time", async () => {
  const scenario = greenroom.scenario(stage);
  scenario.at(0).joins("alice", { role: "host" }).viewersJoin(5, 1);
  scenario.at(2).publishes("alice").at("1h").everyoneLeaves();
  const run = await scenario.run();
  assert.equal(run.state, "FINISHED");
  assert.ok(run.participants["viewer-5"]);
  await greenroom.clock.resume();
  const real = await greenroom.runScenario("at 0s alice joins\nat 1h alice leaves", { stage, time: "real" });
  assert.equal((await real.refresh()).state, "RUNNING");
  assert.deepEqual((await greenroom.scenarios.list()).map(({ id }) => id).includes(real.id), true);
  await real.stop();
  await assert.rejects(greenroom.runScenario("at 0s alice joins\nat 1s alice dances", { stage }), (error) => {
    return error instanceof ValidationError && /line 2/.test(error.message);
  });
  await greenroom.clock.resume();
});

test("faults: throttling, a modelled exception, a connection that is cut", async () => {
  await greenroom.withFault({ operation: "CreateStage" }, { throttle: { retryAfterSeconds: 1 } }, async (fault) => {
    await ivs.send(new CreateStageCommand({ name: "second" }));
    assert.deepEqual([await fault.matched(), await fault.applied()], [1, 1]);
  }, { count: 1 });
  const calls = await greenroom.calls("CreateStage");
  assert.deepEqual(calls.map(({ error }) => error?.code), [undefined, "ThrottlingException", undefined]);
  await greenroom.withFault({ operation: "ListStages" }, { exception: "ConflictException", message: "busy" }, async () => {
    await assert.rejects(single().send(new ListStagesCommand({})), { name: "ConflictException" });
  });
  await greenroom.withFault({ operation: "CreateStage" }, { disconnect: "afterRequest" }, async () => {
    await assert.rejects(single().send(new CreateStageCommand({ name: "third" })));
  });
  assert.deepEqual((await stages()).map(({ name }) => name).sort(), ["lobby", "second", "third"]);
  assert.deepEqual(await greenroom.faults.list(), []);
});

test("calls and events are waited for", async () => {
  const call = await greenroom.waitForCall("CreateStage", { name: "lobby" });
  assert.deepEqual([call.status, call.output.stage.arn], [200, stage]);
  await assert.rejects(greenroom.waitForCall("DeleteStage", {}, { timeout: 0.1 }), WaitTimeout);
  const waiting = greenroom.waitForEvent("Participant Published", { user_id: "alice" });
  const alice = await greenroom.join(stage, { userId: "alice", publish: true });
  const { event } = await waiting;
  assert.deepEqual([event.detail.participant_id, event.resources], [alice.id, [stage]]);
  await assert.rejects(ivs.send(new GetStageCommand({ arn: `${stage.slice(0, -12)}abcdABCDefgh` })));
  assert.equal((await greenroom.calls("GetStage"))[0].error.code, "ResourceNotFoundException");
  await greenroom.journal.clear();
  assert.deepEqual(await greenroom.calls(), []);
});
