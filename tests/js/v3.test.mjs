/** Every operation of the AWS SDK for JavaScript v3: successful calls, and errors by class. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as sdk from "@aws-sdk/client-ivs-realtime";
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
} from "./greenroom.mjs";

describe("AWS SDK for JavaScript v3", () => {
  let testServer;
  const succeeded = new Set();
  const paths = [];

  before(async () => {
    testServer = await TestServer.start();
  });
  after(() => testServer.stop());

  /** A client of a new account that records succeeded commands and request paths. */
  function newTenant() {
    const credentials = freshAccount();
    const { endpoint } = testServer;
    const client = new sdk.IVSRealTimeClient({ endpoint, region: REGION, credentials, maxAttempts: 1 });
    const note = (next, context) => async (request) => {
      const result = await next(request);
      succeeded.add(context.commandName);
      assert.equal(result.output.$metadata.httpStatusCode, 200);
      assert.ok(result.output.$metadata.requestId);
      return result;
    };
    const notePath = (next) => (request) => {
      paths.push(`${request.request.method} ${request.request.path}`);
      return next(request);
    };
    client.middlewareStack.add(note, { step: "initialize" });
    client.middlewareStack.add(notePath, { step: "finalizeRequest", priority: "low" });
    const call = (name, input = {}) => client.send(new sdk[`${name}Command`](input));
    return { client, call, account: credentials.accessKeyId };
  }

  async function stageOf({ call }, input = {}) {
    return (await call("CreateStage", input)).stage.arn;
  }

  async function encoderOf({ call }) {
    return (await call("CreateEncoderConfiguration")).encoderConfiguration.arn;
  }

  async function compositionOf(tenant, stageArn, encoderConfigurationArn) {
    const destinations = [{ channel: { channelArn: channelArn(tenant.account), encoderConfigurationArn } }];
    return (await tenant.call("StartComposition", { stageArn, destinations })).composition.arn;
  }

  /** Asserts that a request is rejected with this class, name and status. */
  async function assertRejected(Fault, status, answer) {
    const error = await answer.then(() => assert.fail(`not rejected with ${Fault.name}`), (error) => error);
    assert.ok(error instanceof Fault, error);
    assert.equal(error.name, Fault.name);
    assert.equal(error.$fault, status < 500 ? "client" : "server");
    assert.equal(error.$metadata.httpStatusCode, status);
    assert.ok(error.$metadata.requestId);
    assert.equal(error.exceptionMessage, error.message);
    return error;
  }

  test("a stage is created with tokens for its first participants, read, listed, updated and deleted", async () => {
    const { call, account } = newTenant();
    const created = await call("CreateStage", {
      name: "first",
      tags: { team: "blue" },
      participantTokenConfigurations: [
        { userId: "alice", attributes: { role: "host" }, capabilities: ["PUBLISH"], duration: 30 },
        {},
      ],
    });
    const { stage, participantTokens } = created;
    assert.match(stage.arn, arnOf(account, "stage"));
    assert.deepEqual([stage.name, stage.tags, stage.activeSessionId], ["first", { team: "blue" }, ""]);
    assert.deepEqual(stage.autoParticipantRecordingConfiguration, {
      storageConfigurationArn: "",
      mediaTypes: ["AUDIO_VIDEO"],
      thumbnailConfiguration: { targetIntervalSeconds: 60, storage: ["SEQUENTIAL"], recordingMode: "DISABLED" },
      recordingReconnectWindowSeconds: 0,
      hlsConfiguration: { targetSegmentDurationSeconds: 6 },
      recordParticipantReplicas: true,
    });
    assert.deepEqual(sorted(Object.keys(stage.endpoints)), ["events", "rtmp", "rtmps", "whip"]);

    const [alice, anonymous] = participantTokens;
    assert.deepEqual([alice.userId, alice.attributes], ["alice", { role: "host" }]);
    assert.deepEqual([alice.capabilities, alice.duration], [["PUBLISH"], 30]);
    assert.deepEqual([anonymous.userId, anonymous.attributes, anonymous.duration], [undefined, undefined, 720]);
    assert.deepEqual(sorted(anonymous.capabilities), ["PUBLISH", "SUBSCRIBE"]);

    assert.deepEqual((await call("GetStage", { arn: stage.arn })).stage, stage);
    const { arn, name, tags } = stage;
    assert.deepEqual((await call("ListStages")).stages, [{ arn, name, activeSessionId: "", tags }]);

    const updated = await call("UpdateStage", { arn, name: "second" });
    assert.deepEqual(updated.stage, { ...stage, name: "second" });
    await call("DeleteStage", { arn });
    assert.deepEqual((await call("ListStages")).stages, []);
  });

  test("a stage's recording is configured and removed", async () => {
    const { call } = newTenant();
    const s3 = { bucketName: "recordings" };
    const { storageConfiguration } = await call("CreateStorageConfiguration", { s3 });
    const recording = {
      storageConfigurationArn: storageConfiguration.arn,
      mediaTypes: ["AUDIO_ONLY"],
      thumbnailConfiguration: { targetIntervalSeconds: 5, storage: ["LATEST"], recordingMode: "INTERVAL" },
      recordingReconnectWindowSeconds: 60,
      hlsConfiguration: { targetSegmentDurationSeconds: 4 },
      recordParticipantReplicas: false,
    };
    const { stage } = await call("CreateStage", { autoParticipantRecordingConfiguration: recording });
    assert.deepEqual(stage.autoParticipantRecordingConfiguration, recording);

    const off = { storageConfigurationArn: "" };
    const updated = await call("UpdateStage", { arn: stage.arn, autoParticipantRecordingConfiguration: off });
    const { storageConfigurationArn, recordingReconnectWindowSeconds } =
      updated.stage.autoParticipantRecordingConfiguration;
    assert.deepEqual([storageConfigurationArn, recordingReconnectWindowSeconds], ["", 0]);
  });

  test("a participant token has the requested claims and expiration time", async () => {
    const tenant = newTenant();
    const stageArn = await stageOf(tenant);
    const input = { stageArn, userId: "bob", attributes: { a: "1" }, capabilities: ["SUBSCRIBE"], duration: 60 };
    const { participantToken } = await tenant.call("CreateParticipantToken", input);
    assert.match(participantToken.participantId, PARTICIPANT_ID);
    const { userId, attributes, capabilities, duration, expirationTime, participantId } = participantToken;
    assert.deepEqual({ stageArn, userId, attributes, capabilities, duration }, input);

    const claimed = claims(participantToken.token);
    assert.deepEqual([claimed.jti, claimed.resource, claimed.user_id], [participantId, stageArn, "bob"]);
    assert.deepEqual(claimed.capabilities, { allow_subscribe: true });
    assert.equal(claimed.exp - claimed.iat, 3600);
    assert.ok(expirationTime instanceof Date);
    assert.equal(expirationTime.getTime(), claimed.exp * 1000);
  });

  test("sessions, participants and events show joins, publications and leaves", async () => {
    const tenant = newTenant();
    const { call } = tenant;
    const stageArn = await stageOf(tenant);
    const [publisher, viewer] = ["aaaaaaaaaaaa", "bbbbbbbbbbbb"];
    const sessionId = await testServer.publish(stageArn, publisher, { userId: "alice", attributes: { role: "host" } });
    assert.match(sessionId, SESSION_ID);
    await testServer.do("join", { stage: stageArn, participant: viewer });
    await testServer.do("subscribe", { stage: stageArn, participant: viewer, remote: publisher });

    const { stage } = await call("GetStage", { arn: stageArn });
    assert.equal(stage.activeSessionId, sessionId);
    const { stageSession } = await call("GetStageSession", { stageArn, sessionId });
    assert.equal(stageSession.sessionId, sessionId);
    assert.ok(stageSession.startTime instanceof Date);
    assert.equal(stageSession.endTime, undefined);
    const { stageSessions } = await call("ListStageSessions", { stageArn });
    assert.deepEqual(stageSessions, [stageSession]);

    const { participant } = await call("GetParticipant", { stageArn, sessionId, participantId: publisher });
    assert.deepEqual([participant.userId, participant.attributes], ["alice", { role: "host" }]);
    assert.deepEqual([participant.state, participant.published], ["CONNECTED", true]);
    assert.ok(participant.firstJoinTime instanceof Date);
    const { participants } = await call("ListParticipants", { stageArn, sessionId });
    assert.deepEqual(participants.map((row) => row.participantId), [publisher, viewer]);
    const filtered = await call("ListParticipants", { stageArn, sessionId, filterByPublished: true });
    assert.deepEqual(filtered.participants.map((row) => row.participantId), [publisher]);

    const { events } = await call("ListParticipantEvents", { stageArn, sessionId, participantId: viewer });
    assert.deepEqual(events.map((event) => event.name), ["JOINED", "SUBSCRIBE_STARTED"]);
    assert.equal(events[1].remoteParticipantId, publisher);
    assert.ok(events[0].eventTime instanceof Date);

    await call("DisconnectParticipant", { stageArn, participantId: viewer, reason: "enough" });
    const gone = await call("GetParticipant", { stageArn, sessionId, participantId: viewer });
    assert.equal(gone.participant.state, "DISCONNECTED");
  });

  test("tags are set, listed and removed, with an encoded ARN in the path", async () => {
    const tenant = newTenant();
    const { call } = tenant;
    const resourceArn = await stageOf(tenant, { tags: { a: "1" } });
    paths.length = 0;
    await call("TagResource", { resourceArn, tags: { b: "two & three", "c/d": "" } });
    const tagged = await call("ListTagsForResource", { resourceArn });
    assert.deepEqual(tagged.tags, { a: "1", b: "two & three", "c/d": "" });
    await call("UntagResource", { resourceArn, tagKeys: ["a", "c/d"] });
    assert.deepEqual((await call("ListTagsForResource", { resourceArn })).tags, { b: "two & three" });
    const path = `/tags/${encodeURIComponent(resourceArn)}`;
    assert.deepEqual(paths, [`POST ${path}`, `GET ${path}`, `DELETE ${path}`, `GET ${path}`]);
  });

  test("a public key is imported, read, listed and deleted", async () => {
    const { call, account } = newTenant();
    const { pem, fingerprint } = freshKey();
    const imported = await call("ImportPublicKey", { publicKeyMaterial: pem, name: "mine", tags: { a: "b" } });
    const { arn } = imported.publicKey;
    assert.match(arn, arnOf(account, "public-key"));
    const expected = { arn, name: "mine", publicKeyMaterial: pem, fingerprint, tags: { a: "b" } };
    assert.deepEqual(imported.publicKey, expected);
    assert.deepEqual((await call("GetPublicKey", { arn })).publicKey, expected);
    assert.deepEqual((await call("ListPublicKeys")).publicKeys, [{ arn, name: "mine", tags: { a: "b" } }]);
    await call("DeletePublicKey", { arn });
    assert.deepEqual((await call("ListPublicKeys")).publicKeys, []);
  });

  test("an encoder configuration is created with the default video, read, listed and deleted", async () => {
    const { call, account } = newTenant();
    const { encoderConfiguration } = await call("CreateEncoderConfiguration", { name: "hd", tags: { a: "b" } });
    const { arn, name, tags } = encoderConfiguration;
    assert.match(arn, arnOf(account, "encoder-configuration"));
    const video = { width: 1280, height: 720, framerate: 30, bitrate: 2500000 };
    assert.deepEqual(encoderConfiguration, { arn, name: "hd", tags: { a: "b" }, video });
    assert.deepEqual((await call("GetEncoderConfiguration", { arn })).encoderConfiguration, encoderConfiguration);
    assert.deepEqual((await call("ListEncoderConfigurations")).encoderConfigurations, [{ arn, name, tags }]);
    await call("DeleteEncoderConfiguration", { arn });
    assert.deepEqual((await call("ListEncoderConfigurations")).encoderConfigurations, []);
  });

  test("a storage configuration is created, read, listed and deleted", async () => {
    const { call, account } = newTenant();
    const input = { name: "store", s3: { bucketName: "recordings" }, tags: { a: "b" } };
    const { storageConfiguration } = await call("CreateStorageConfiguration", input);
    const { arn } = storageConfiguration;
    assert.match(arn, arnOf(account, "storage-configuration"));
    assert.deepEqual(storageConfiguration, { arn, ...input });
    assert.deepEqual((await call("GetStorageConfiguration", { arn })).storageConfiguration, storageConfiguration);
    assert.deepEqual((await call("ListStorageConfigurations")).storageConfigurations, [storageConfiguration]);
    await call("DeleteStorageConfiguration", { arn });
    assert.deepEqual((await call("ListStorageConfigurations")).storageConfigurations, []);
  });

  test("an ingest configuration is created, attached, made redundant, listed and deleted", async () => {
    const tenant = newTenant();
    const { call, account } = tenant;
    const stageArn = await stageOf(tenant);
    const input = { name: "camera", userId: "cam", attributes: { a: "1" }, tags: { b: "2" } };
    const { ingestConfiguration } = await call("CreateIngestConfiguration", { ...input, ingestProtocol: "RTMPS" });
    const { arn, participantId, streamKey } = ingestConfiguration;
    assert.match(arn, arnOf(account, "ingest-configuration"));
    assert.match(participantId, PARTICIPANT_ID);
    assert.ok(streamKey.startsWith(`rt_${account}_${REGION}_${arn.split("/")[1]}_`));
    assert.deepEqual([ingestConfiguration.stageArn, ingestConfiguration.state], ["", "INACTIVE"]);
    const { name, userId, attributes, tags } = ingestConfiguration;
    assert.deepEqual({ name, userId, attributes, tags }, input);

    const updated = await call("UpdateIngestConfiguration", { arn, stageArn, redundantIngest: true });
    assert.equal(updated.ingestConfiguration.stageArn, stageArn);
    const credentials = updated.ingestConfiguration.redundantIngestCredentials;
    assert.equal(new Set(credentials.map((credential) => credential.streamKey)).size, 2);
    assert.deepEqual((await call("GetIngestConfiguration", { arn })).ingestConfiguration, updated.ingestConfiguration);
    const listed = await call("ListIngestConfigurations", { filterByStageArn: stageArn });
    const [row] = listed.ingestConfigurations;
    assert.deepEqual([listed.ingestConfigurations.length, row.arn, row.participantId], [1, arn, participantId]);
    assert.ok(!("streamKey" in row));

    await testServer.do("ingest", { configuration: arn, state: "ACTIVE" });
    await call("DeleteIngestConfiguration", { arn, force: true });
    assert.deepEqual((await call("ListIngestConfigurations")).ingestConfigurations, []);
  });

  test("a composition starts once per idempotency token, becomes active, and stops", async () => {
    const tenant = newTenant();
    const { call, account } = tenant;
    const stageArn = await stageOf(tenant);
    const encoderConfigurationArn = await encoderOf(tenant);
    const { storageConfiguration } = await call("CreateStorageConfiguration", { s3: { bucketName: "recordings" } });
    const input = {
      stageArn,
      idempotencyToken: "once",
      layout: { pip: { featuredParticipantAttribute: "host", pipPosition: "TOP_LEFT" } },
      destinations: [
        { name: "live", channel: { channelArn: channelArn(account), encoderConfigurationArn } },
        {
          s3: {
            storageConfigurationArn: storageConfiguration.arn,
            encoderConfigurationArns: [encoderConfigurationArn],
            thumbnailConfigurations: [{ targetIntervalSeconds: 10 }],
          },
        },
      ],
      tags: { a: "b" },
    };
    const { composition } = await call("StartComposition", input);
    const { arn } = composition;
    assert.match(arn, arnOf(account, "composition"));
    assert.deepEqual([composition.state, composition.stageArn, composition.tags], ["STARTING", stageArn, { a: "b" }]);
    assert.deepEqual(composition.layout.pip, {
      featuredParticipantAttribute: "host",
      gridGap: 0,
      omitStoppedVideo: false,
      participantOrderAttribute: "",
      pipBehavior: "STATIC",
      pipOffset: 0,
      pipParticipantAttribute: "",
      pipPosition: "TOP_LEFT",
      videoFillMode: "COVER",
    });
    const [channel, s3] = composition.destinations;
    assert.deepEqual([channel.configuration.name, channel.state], ["live", "STARTING"]);
    assert.deepEqual(s3.configuration.s3.recordingConfiguration, {
      format: "HLS",
      hlsConfiguration: { targetSegmentDurationSeconds: 2 },
    });
    assert.deepEqual(s3.configuration.s3.thumbnailConfigurations, [
      { targetIntervalSeconds: 10, storage: ["SEQUENTIAL"] },
    ]);
    const ids = [stageArn, arn].map((arn) => arn.split("/")[1]);
    assert.equal(s3.detail.s3.recordingPrefix, `${ids.join("/")}/${s3.id}/composite`);
    assert.deepEqual((await call("StartComposition", input)).composition, composition);

    await testServer.advance(2);
    const active = (await call("GetComposition", { arn })).composition;
    assert.deepEqual([active.state, ...active.destinations.map(({ state }) => state)], ["ACTIVE", "ACTIVE", "ACTIVE"]);
    assert.ok(active.destinations[0].startTime instanceof Date);
    const listed = await call("ListCompositions", { filterByStageArn: stageArn });
    assert.deepEqual(listed.compositions.map(({ arn, state }) => [arn, state]), [[arn, "ACTIVE"]]);

    await call("StopComposition", { arn });
    assert.equal((await call("GetComposition", { arn })).composition.state, "STOPPING");
    await testServer.advance(1);
    const stopped = (await call("GetComposition", { arn })).composition;
    assert.equal(stopped.state, "STOPPED");
    assert.ok(stopped.endTime > stopped.startTime);
  });

  test("participant replication is started and stopped", async () => {
    const tenant = newTenant();
    const { call } = tenant;
    const [sourceStageArn, destinationStageArn] = [await stageOf(tenant), await stageOf(tenant)];
    const participantId = "cccccccccccc";
    const sourceSessionId = await testServer.publish(sourceStageArn, participantId);
    const input = { sourceStageArn, destinationStageArn, participantId };

    const started = await call("StartParticipantReplication", { ...input, attributes: { from: "elsewhere" } });
    assert.equal(started.accessControlAllowOrigin, "*");
    assert.equal(started.cacheControl, "no-store, no-cache");
    assert.equal(started.contentSecurityPolicy, "default-src 'self'; upgrade-insecure-requests;");
    assert.equal(started.strictTransportSecurity, "max-age:47304000; includeSubDomains");
    assert.equal(started.xContentTypeOptions, "nosniff");
    assert.equal(started.xFrameOptions, "DENY");

    const { replicas } = await call("ListParticipantReplicas", { sourceStageArn, participantId });
    const [{ destinationSessionId }] = replicas;
    assert.deepEqual(replicas, [{ ...input, sourceSessionId, destinationSessionId, replicationState: "ACTIVE" }]);
    const there = { stageArn: destinationStageArn, sessionId: destinationSessionId, participantId };
    const { participant } = await call("GetParticipant", there);
    assert.deepEqual([participant.replicationType, participant.attributes], ["REPLICA", { from: "elsewhere" }]);

    const stopped = await call("StopParticipantReplication", input);
    assert.equal(stopped.xFrameOptions, "DENY");
    const here = { stageArn: sourceStageArn, sessionId: sourceSessionId, participantId };
    const { events } = await call("ListParticipantEvents", here);
    assert.deepEqual(events.map(({ name }) => name).slice(-2), ["REPLICATION_STARTED", "REPLICATION_STOPPED"]);
    assert.equal(events.at(-1).destinationStageArn, destinationStageArn);
  });

  test("the paginator lists 250 stages in five pages, each once", async () => {
    const tenant = newTenant();
    const made = [];
    for (let number = 0; number < 250; number += 1) made.push(await stageOf(tenant, { name: `stage-${number}` }));
    const sizes = [];
    const met = [];
    for await (const page of sdk.paginateListStages({ client: tenant.client, pageSize: 50 }, {})) {
      sizes.push(page.stages.length);
      met.push(...page.stages.map(({ arn }) => arn));
    }
    assert.deepEqual(sizes, [50, 50, 50, 50, 50]);
    assert.deepEqual(sorted(met), sorted(made));
  });

  test("a violated constraint is a ValidationException with status 400", async () => {
    const { call } = newTenant();
    const error = await assertRejected(sdk.ValidationException, 400, call("GetStage", { arn: "nonsense" }));
    assert.match(error.message, /1 validation error detected: Value 'nonsense' at 'arn' failed/);
  });

  test("a nonexistent resource is a ResourceNotFoundException with status 404", async () => {
    const { call, account } = newTenant();
    const arn = `arn:aws:ivs:${REGION}:${account}:stage/abcdefghijkl`;
    const error = await assertRejected(sdk.ResourceNotFoundException, 404, call("GetStage", { arn }));
    assert.equal(error.message, `Resource: ${arn} not found`);
  });

  test("deleting a resource in use is a ConflictException with status 409", async () => {
    const tenant = newTenant();
    const encoder = await encoderOf(tenant);
    await compositionOf(tenant, await stageOf(tenant), encoder);
    await assertRejected(sdk.ConflictException, 409, tenant.call("DeleteEncoderConfiguration", { arn: encoder }));
  });

  test("a fourth public key is a ServiceQuotaExceededException with status 402", async () => {
    const { call } = newTenant();
    const importKey = () => call("ImportPublicKey", { publicKeyMaterial: freshKey().pem });
    for (let number = 0; number < 3; number += 1) await importKey();
    await assertRejected(sdk.ServiceQuotaExceededException, 402, importKey());
  });

  test("every command of the package was called", () => {
    const commands = Object.keys(sdk).filter((name) => /^[A-Z]\w+Command$/.test(name));
    assert.ok(commands.length >= 39, `only ${commands.length} commands`);
    assert.deepEqual(sorted(succeeded), sorted(commands));
  });
});
