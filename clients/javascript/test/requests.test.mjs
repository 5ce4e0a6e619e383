/** What the client sends, and what it makes of the responses: against the fake server. */

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import {
  AccessDenied,
  ApiError,
  Conflict,
  NotFound,
  Server,
  ServerError,
  SharedClockError,
  TestApiMissing,
  ValidationError,
  WaitTimeout,
} from "@greenroom/testkit";
import { startFake } from "./fake.mjs";

const KEY = { accessKeyId: "GREENROOMTESTKEY0001", secretAccessKey: "an-example-secret-of-32-characters" };
let fake, client;

before(async () => (fake = await startFake()));
after(() => fake.stop());
beforeEach(async () => {
  fake.requests.length = 0;
  client = await new Server(fake.endpoint).account("123456789012");
});

test("a request names its account and region", async () => {
  fake.answer({ deleted: { stages: 2 } });
  assert.deepEqual(await client.reset(), { stages: 2 });
  const { method, path, query, headers } = fake.last();
  assert.deepEqual([method, path], ["POST", "/_greenroom/test/reset"]);
  assert.deepEqual(query, { account: "123456789012", region: "us-east-1" });
  assert.equal(headers.authorization, undefined);
});

test("the clock is that of all accounts, and resumes after an error", async () => {
  for (let i = 0; i < 2; i++) fake.answer({ now: "2026-01-01T12:00:00Z" });
  const failing = client.frozen(async (clock) => {
    assert.equal((await clock.advance("5m")).toISOString(), "2026-01-01T12:00:00.000Z");
    throw new Error("in the block");
  }, new Date("2026-01-01T12:00:00Z"));
  await assert.rejects(failing, /in the block/);
  const [freeze, advance, resume] = fake.requests;
  for (const { query } of fake.requests) assert.deepEqual(query, { all: "true" });
  assert.deepEqual(JSON.parse(freeze.body), { now: "2026-01-01T12:00:00.000Z", frozen: true });
  assert.deepEqual(JSON.parse(advance.body), { seconds: 300 });
  assert.deepEqual([resume.method, resume.path], ["DELETE", "/_greenroom/test/clock"]);
});

test("the clock of a shared server cannot be moved", async () => {
  const shared = await new Server(fake.endpoint, { exclusive: false }).account();
  await assert.rejects(shared.frozen(() => {}), SharedClockError);
  await assert.rejects(shared.timeTravel({ by: 1 }, () => {}), /other tests use this server/);
  await assert.rejects(shared.runScenario("at 0s alice joins"), SharedClockError);
  assert.deepEqual(fake.requests, []);
});

test("requests are signed where the server has credentials", async () => {
  const made = { accessKeyId: "GREENROOMNEWKEY00001", secretAccessKey: "x".repeat(40) };
  fake.answer({ accessKeys: { testkit: made } });
  const signed = await new Server(fake.endpoint, { credentials: KEY }).account("210987654321");
  await signed.journal.clear();
  const [seed, clear] = fake.requests;
  assert.deepEqual([seed.path, seed.query.account], ["/_greenroom/test/seed", "210987654321"]);
  assert.match(seed.headers.authorization, /Credential=GREENROOMTESTKEY0001\/\d{8}\/us-east-1\/ivs\/aws4_request/);
  assert.match(clear.headers.authorization, /Credential=GREENROOMNEWKEY00001\//);
  fake.answer({ now: "2026-01-01T12:00:00Z" });
  await signed.clock.advance(1);
  assert.match(fake.last().headers.authorization, /Credential=GREENROOMTESTKEY0001\//);
});

for (const [status, code, kind] of [
  [400, "ValidationException", ValidationError],
  [403, "AccessDeniedException", AccessDenied],
  [404, "ResourceNotFoundException", NotFound],
  [409, "ConflictException", Conflict],
  [404, "UnknownOperationException", TestApiMissing],
  [503, "ServiceUnavailable", ApiError],
]) {
  test(`${code} is ${kind.name} with the message of the server`, async () => {
    fake.answer({ message: "stage: no such name" }, status, code);
    await assert.rejects(client.join("lobby"), (error) => {
      assert.equal(error.constructor, kind);
      assert.deepEqual([error.status, error.code, error.name], [status, code, kind.name]);
      return /stage: no such name/.test(error.message);
    });
  });
}

test("no response is an error that names the server", async () => {
  const nowhere = await new Server("http://127.0.0.1:9").account();
  await assert.rejects(nowhere.reset(), (error) => error instanceof ServerError && /127\.0\.0\.1:9.*reset/.test(error.message));
});

test("a participant has the members of the last response", async () => {
  const one = { participantId: "p1", token: "t", userId: "alice", state: "CONNECTED" };
  fake.answer({ ...one, publishing: false });
  const alice = await client.join("lobby", { userId: "alice", subscribe: ["p0"] });
  assert.deepEqual(JSON.parse(fake.last().body), { stage: "lobby", userId: "alice", subscribe: ["p0"] });
  fake.answer({ ...one, publishing: true });
  assert.equal((await alice.publish()).state.publishing, true);
  for (const [act, path, body] of [
    [() => alice.subscribe("p2"), "subscribe", { participantId: "p2" }],
    [() => alice.unsubscribe(alice), "unsubscribe", { participantId: "p1" }],
    [() => alice.mute("video"), "mute", { kinds: ["video"] }],
    [() => alice.unmute(), "unmute", { kinds: ["audio", "video"] }],
    [() => alice.fail("QUOTA", { event: "JOIN_ERROR" }), "fail", { code: "QUOTA", event: "JOIN_ERROR" }],
    [() => alice.exchangeToken({ attributes: {} }), "exchange", { attributes: {} }],
  ]) {
    fake.answer(one);
    await act();
    assert.equal(fake.last().path, `/_greenroom/test/participants/p1/${path}`);
    assert.deepEqual(JSON.parse(fake.last().body), body);
  }
});

test("a token alone names its stage", async () => {
  fake.answer({ participantId: "p1" });
  await client.join({ token: "head.payload.signature" });
  assert.deepEqual(JSON.parse(fake.last().body), { token: "head.payload.signature" });
});

test("a scenario as code is its text", async () => {
  const scenario = client.scenario("lobby");
  scenario.at(0).joins("alice", { role: "host" }).viewersJoin(1000, "10s");
  scenario.at(1.5).publishes("alice").at("2m").subscribes("bob", "alice").mutes("alice", "audio");
  scenario.at("250ms").fails("bob", "INSUFFICIENT_CAPABILITIES").exchangesToken("bob");
  scenario.at("1h").viewersLeave().everyoneLeaves();
  assert.deepEqual(scenario.text.trimEnd().split("\n"), [
    'at 0s alice joins as {"role":"host"}',
    "at 0s 1000 viewers join over 10s",
    "at 1.5s alice publishes",
    "at 120s bob subscribes to alice",
    "at 120s alice mutes audio",
    "at 0.25s bob fails with INSUFFICIENT_CAPABILITIES",
    "at 0.25s bob exchanges its token",
    "at 3600s viewers leave",
    "at 3600s everyone leaves",
  ]);
  fake.answer({ id: "1", state: "FINISHED", participants: { alice: "p1" } });
  assert.deepEqual((await scenario.run()).participants, { alice: "p1" });
  assert.deepEqual(fake.last().query, { all: "true" });
  assert.equal(JSON.parse(fake.last().body).account, "123456789012");
  assert.throws(() => scenario.at("5 minutes"), /5 minutes/);
});

test("a fault is removed after its function", async () => {
  fake.answer({ id: "f1", matched: 0 });
  await client.withFault({ operation: "CreateStage", participant: "p1" }, { throttle: { retryAfterSeconds: 2 } }, () => {}, { count: 1 });
  const [add, remove] = fake.requests;
  assert.deepEqual(JSON.parse(add.body), {
    match: { operation: "CreateStage", participantId: "p1" },
    effect: { throttle: { retryAfterSeconds: 2 } },
    count: 1,
  });
  assert.deepEqual([remove.method, remove.path], ["DELETE", "/_greenroom/test/faults/f1"]);
});

test("how often a fault was applied is read from the server", async () => {
  fake.answer({ id: "f1", matched: 0, applied: 0 });
  const fault = await client.fault({ operation: "CreateStage" }, { status: 500 });
  for (const applied of [1, 2]) {
    fake.answer({ id: "f1", matched: 3, applied });
    assert.equal(await fault.applied(), applied);
    assert.deepEqual([fake.last().method, fake.last().path], ["GET", "/_greenroom/test/faults/f1"]);
  }
});

test("the environment has no session token of the user", () => {
  const { AWS_SESSION_TOKEN, AWS_SECURITY_TOKEN } = client.environment();
  assert.deepEqual([AWS_SESSION_TOKEN, AWS_SECURITY_TOKEN], ["", ""]);
});

test("a wait that is in vain names the closest", async () => {
  fake.answer({ matched: false, entries: [], seen: 3, closest: "CreateStage, but input.name is b" });
  const waiting = client.waitForCall("CreateStage", { name: "a", tags: { k: "v" } }, { timeout: 0.5 });
  await assert.rejects(waiting, (error) => error instanceof WaitTimeout && error.seen === 3 && /input\.name is b/.test(error.message));
  const call = { operation: ["CreateStage"], input: { name: ["a"], tags: { k: ["v"] } } };
  assert.deepEqual(JSON.parse(fake.last().body), { call, after: 0, count: 1, timeoutSeconds: 0.5 });
});

test("the journal is read in pages", async () => {
  fake.answer({ entries: [{ sequence: 1 }, { sequence: 2 }], next: 2 });
  fake.answer({ entries: [{ sequence: 3 }], next: null });
  assert.deepEqual((await client.calls("CreateStage")).map(({ sequence }) => sequence), [1, 2, 3]);
  assert.equal(fake.requests[1].query.after, "2");
});
