/** Every operation of the AWS SDK for JavaScript v2: successful calls, and errors by code. */

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import {
  arnOf,
  channelArn,
  claims,
  freshAccount,
  freshKey,
  PARTICIPANT_ID,
  REGION,
  SESSION_ID,
  sorted,
  TestServer,
  walk,
} from "./greenroom.mjs";

process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";
const AWS = createRequire(import.meta.url)("aws-sdk");

describe("AWS SDK for JavaScript v2", () => {
  let testServer;
  const succeeded = new Set();
  const paths = [];

  before(async () => {
    testServer = await TestServer.start();
  });
  after(() => testServer.stop());

  /** A client of a new account that records succeeded operations and request paths. */
  function newTenant() {
    const credentials = freshAccount();
    const client = new AWS.IVSRealTime({ endpoint: testServer.endpoint, region: REGION, credentials, maxRetries: 0 });
    client.customizeRequests((request) => {
      request.on("send", ({ request }) => paths.push(`${request.httpRequest.method} ${request.httpRequest.path}`));
      request.on("success", (response) => {
        assert.equal(response.httpResponse.statusCode, 200);
        assert.ok(response.requestId);
        succeeded.add(response.request.operation);
      });
    });
    const call = (name, input = {}) => client[name](input).promise();
    return { client, call, account: credentials.accessKeyId };
  }

  async function stageOf({ call }, input = {}) {
    return (await call("createStage", input)).stage.arn;
  }

  async function encoderOf({ call }) {
    return (await call("createEncoderConfiguration")).encoderConfiguration.arn;
  }

  /** Asserts that a request is rejected with this code and status. */
  async function assertRejected(code, statusCode, answer) {
    const error = await answer.then(() => assert.fail(`not rejected with ${code}`), (error) => error);
    assert.deepEqual([error.code, error.statusCode], [code, statusCode]);
    assert.ok(error.requestId);
    return error;
  }

  test("a stage is created with a token for its first participant, read, listed, updated and deleted", async () => {
    const { call, account } = newTenant();
    const input = { name: "first", tags: { team: "blue" }, participantTokenConfigurations: [{ userId: "alice" }] };
    const { stage, participantTokens } = await call("createStage", input);
    assert.match(stage.arn, arnOf(account, "stage"));
    assert.deepEqual([stage.name, stage.tags], ["first", { team: "blue" }]);
    const { storageConfigurationArn, mediaTypes } = stage.autoParticipantRecordingConfiguration;
    assert.deepEqual([storageConfigurationArn, mediaTypes], ["", ["AUDIO_VIDEO"]]);
    assert.deepEqual(participantTokens.map(({ userId }) => userId), ["alice"]);

    const { arn } = stage;
    assert.deepEqual((await call("getStage", { arn })).stage, stage);
    assert.deepEqual((await call("listStages")).stages, [
      { arn, name: "first", activeSessionId: "", tags: { team: "blue" } },
    ]);
    assert.deepEqual((await call("updateStage", { arn, name: "second" })).stage, { ...stage, name: "second" });
    assert.deepEqual(await call("deleteStage", { arn }), {});
    assert.deepEqual((await call("listStages")).stages, []);
  });

  test("a participant token has the requested claims and expiration time", async () => {
    const tenant = newTenant();
    const stageArn = await stageOf(tenant);
    const input = { stageArn, userId: "bob", attributes: { a: "1" }, capabilities: ["SUBSCRIBE"], duration: 60 };
    const { participantToken } = await tenant.call("createParticipantToken", input);
    const { userId, attributes, capabilities, duration, expirationTime, participantId } = participantToken;
    assert.deepEqual({ stageArn, userId, attributes, capabilities, duration }, input);
    assert.match(participantId, PARTICIPANT_ID);
    const claimed = claims(participantToken.token);
    assert.deepEqual([claimed.jti, claimed.resource], [participantId, stageArn]);
    assert.equal(expirationTime.getTime(), claimed.exp * 1000);
  });

  test("sessions, participants and events show joins, publications and leaves", async () => {
    const tenant = newTenant();
    const { call } = tenant;
    const stageArn = await stageOf(tenant);
    const participantId = "aaaaaaaaaaaa";
    const sessionId = await testServer.publish(stageArn, participantId, { userId: "alice" });
    assert.match(sessionId, SESSION_ID);

    const { stageSession } = await call("getStageSession", { stageArn, sessionId });
    assert.equal(stageSession.sessionId, sessionId);
    assert.ok(stageSession.startTime instanceof Date);
    assert.deepEqual((await call("listStageSessions", { stageArn })).stageSessions, [stageSession]);

    const { participant } = await call("getParticipant", { stageArn, sessionId, participantId });
    assert.deepEqual([participant.userId, participant.state, participant.published], ["alice", "CONNECTED", true]);
    const { participants } = await call("listParticipants", { stageArn, sessionId, filterByState: "CONNECTED" });
    assert.deepEqual(participants.map((row) => row.participantId), [participantId]);

    await call("disconnectParticipant", { stageArn, participantId });
    const { events } = await call("listParticipantEvents", { stageArn, sessionId, participantId });
    assert.deepEqual(events.map(({ name }) => name), ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]);
    assert.ok(events[0].eventTime instanceof Date);
  });

  test("tags are set, listed and removed, with an encoded ARN in the path", async () => {
    const tenant = newTenant();
    const { call } = tenant;
    const resourceArn = await stageOf(tenant, { tags: { a: "1" } });
    paths.length = 0;
    assert.deepEqual(await call("tagResource", { resourceArn, tags: { b: "two & three", "c/d": "" } }), {});
    const tagged = await call("listTagsForResource", { resourceArn });
    assert.deepEqual(tagged.tags, { a: "1", b: "two & three", "c/d": "" });
    assert.deepEqual(await call("untagResource", { resourceArn, tagKeys: ["a", "c/d"] }), {});
    assert.deepEqual((await call("listTagsForResource", { resourceArn })).tags, { b: "two & three" });
    const path = `/tags/${encodeURIComponent(resourceArn)}`;
    assert.deepEqual(
      paths.map((line) => line.split("?")[0]),
      [`POST ${path}`, `GET ${path}`, `DELETE ${path}`, `GET ${path}`],
    );
  });

  test("a public key is imported, read, listed and deleted", async () => {
    const { call, account } = newTenant();
    const { pem, fingerprint } = freshKey();
    const { publicKey } = await call("importPublicKey", { publicKeyMaterial: pem });
    const { arn } = publicKey;
    assert.match(arn, arnOf(account, "public-key"));
    assert.deepEqual(publicKey, { arn, name: "", publicKeyMaterial: pem, fingerprint, tags: {} });
    assert.deepEqual((await call("getPublicKey", { arn })).publicKey, publicKey);
    assert.deepEqual((await call("listPublicKeys")).publicKeys, [{ arn, name: "", tags: {} }]);
    assert.deepEqual(await call("deletePublicKey", { arn }), {});
    assert.deepEqual((await call("listPublicKeys")).publicKeys, []);
  });

  test("an encoder configuration is created, read, listed and deleted", async () => {
    const { call, account } = newTenant();
    const video = { width: 640, height: 360, framerate: 15, bitrate: 700000 };
    const { encoderConfiguration } = await call("createEncoderConfiguration", { name: "small", video });
    const { arn, name, tags } = encoderConfiguration;
    assert.match(arn, arnOf(account, "encoder-configuration"));
    assert.deepEqual(encoderConfiguration, { arn, name: "small", video, tags: {} });
    assert.deepEqual((await call("getEncoderConfiguration", { arn })).encoderConfiguration, encoderConfiguration);
    assert.deepEqual((await call("listEncoderConfigurations")).encoderConfigurations, [{ arn, name, tags }]);
    assert.deepEqual(await call("deleteEncoderConfiguration", { arn }), {});
    assert.deepEqual((await call("listEncoderConfigurations")).encoderConfigurations, []);
  });

  test("a storage configuration is created, read, listed and deleted", async () => {
    const { call, account } = newTenant();
    const input = { name: "store", s3: { bucketName: "recordings" }, tags: { a: "b" } };
    const { storageConfiguration } = await call("createStorageConfiguration", input);
    const { arn } = storageConfiguration;
    assert.match(arn, arnOf(account, "storage-configuration"));
    assert.deepEqual(storageConfiguration, { arn, ...input });
    assert.deepEqual((await call("getStorageConfiguration", { arn })).storageConfiguration, storageConfiguration);
    assert.deepEqual((await call("listStorageConfigurations")).storageConfigurations, [storageConfiguration]);
    assert.deepEqual(await call("deleteStorageConfiguration", { arn }), {});
    assert.deepEqual((await call("listStorageConfigurations")).storageConfigurations, []);
  });

  test("a composition is started, read, listed and stopped", async () => {
    const tenant = newTenant();
    const { call, account } = tenant;
    const stageArn = await stageOf(tenant);
    const channel = { channelArn: channelArn(account), encoderConfigurationArn: await encoderOf(tenant) };
    const { composition } = await call("startComposition", { stageArn, destinations: [{ channel }] });
    const { arn } = composition;
    assert.match(arn, arnOf(account, "composition"));
    assert.deepEqual([composition.state, composition.stageArn], ["STARTING", stageArn]);
    assert.deepEqual(composition.destinations[0].configuration, { name: "", channel });
    assert.deepEqual(composition.layout.grid, {
      featuredParticipantAttribute: "",
      gridGap: 2,
      omitStoppedVideo: false,
      videoAspectRatio: "VIDEO",
      videoFillMode: "",
    });
    assert.deepEqual((await call("getComposition", { arn })).composition, composition);
    const { compositions } = await call("listCompositions");
    assert.deepEqual(compositions.map(({ arn, state }) => [arn, state]), [[arn, "STARTING"]]);
    assert.deepEqual(await call("stopComposition", { arn }), {});
    await testServer.advance(1);
    assert.equal((await call("getComposition", { arn })).composition.state, "STOPPED");
  });

  test("pagination by next tokens lists each stage once", async () => {
    const tenant = newTenant();
    const made = [];
    for (let number = 0; number < 25; number += 1) made.push(await stageOf(tenant));
    const pages = await walk((nextToken) => tenant.call("listStages", { maxResults: 10, nextToken }));
    assert.deepEqual(pages.map(({ stages }) => stages.length), [10, 10, 5]);
    assert.deepEqual(sorted(pages.flatMap(({ stages }) => stages.map(({ arn }) => arn))), sorted(made));
  });

  test("a violated constraint is a ValidationException with status 400", async () => {
    const { call } = newTenant();
    const error = await assertRejected("ValidationException", 400, call("getStage", { arn: "nonsense" }));
    assert.match(error.message, /1 validation error detected: Value 'nonsense' at 'arn' failed/);
  });

  test("a nonexistent resource is a ResourceNotFoundException with status 404", async () => {
    const { call, account } = newTenant();
    const arn = `arn:aws:ivs:${REGION}:${account}:stage/abcdefghijkl`;
    const error = await assertRejected("ResourceNotFoundException", 404, call("deleteStage", { arn }));
    assert.equal(error.message, `Resource: ${arn} not found`);
  });

  test("the same public key twice is a ConflictException with status 409", async () => {
    const { call } = newTenant();
    const publicKeyMaterial = freshKey().pem;
    await call("importPublicKey", { publicKeyMaterial });
    await assertRejected("ConflictException", 409, call("importPublicKey", { publicKeyMaterial }));
  });

  test("a sixth storage configuration is a ServiceQuotaExceededException with status 402", async () => {
    const { call } = newTenant();
    const create = () => call("createStorageConfiguration", { s3: { bucketName: "recordings" } });
    for (let number = 0; number < 5; number += 1) await create();
    await assertRejected("ServiceQuotaExceededException", 402, create());
  });

  test("every operation of the package was called", () => {
    const operations = Object.keys(newTenant().client.api.operations);
    assert.ok(operations.length >= 31, `only ${operations.length} operations`);
    assert.deepEqual(sorted(succeeded), sorted(operations));
  });
});
