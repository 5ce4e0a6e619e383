/** Access keys with both JavaScript SDKs: created keys, policies, and authentication errors. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { IVSRealTimeClient, CreateStageCommand, ListStagesCommand } from "@aws-sdk/client-ivs-realtime";
import { REGION, TestServer } from "./greenroom.mjs";

process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";
const AWS = createRequire(import.meta.url)("aws-sdk");

const ACCOUNT = "123456789012";

/** Clients of both SDKs with the same interface; errors have `name` and `status`. */
const SDKS = {
  v3: (endpoint, credentials) => {
    const client = new IVSRealTimeClient({ endpoint, region: REGION, credentials, maxAttempts: 1 });
    const send = (command) =>
      client.send(command).catch((error) => {
        throw Object.assign(error, { status: error.$metadata.httpStatusCode });
      });
    return {
      createStage: (input) => send(new CreateStageCommand(input)),
      listStages: () => send(new ListStagesCommand({})),
    };
  },
  v2: (endpoint, credentials) => {
    const client = new AWS.IVSRealTime({ endpoint, region: REGION, credentials, maxRetries: 0 });
    const send = (request) =>
      request.promise().catch((error) => {
        throw Object.assign(error, { name: error.code, status: error.statusCode });
      });
    return {
      createStage: (input) => send(client.createStage(input)),
      listStages: () => send(client.listStages({})),
    };
  },
};

describe("access keys", () => {
  let testServer;
  const folder = mkdtempSync(join(tmpdir(), "greenroom-"));
  const store = ["--database-url", `sqlite://${folder}/greenroom.db`];

  before(async () => {
    testServer = await TestServer.start(...store);
  });
  after(async () => {
    await testServer.stop();
    rmSync(folder, { recursive: true });
  });

  /** Creates a key by the command line while the server runs. */
  function createKey(...flags) {
    const command = ["credentials", "create", "--account", ACCOUNT, "--output", "json", ...store, ...flags];
    const { accessKeyId, secretAccessKey, sessionToken } = JSON.parse(execFileSync(process.env.GREENROOM_BIN, command));
    return { accessKeyId, secretAccessKey, sessionToken: sessionToken ?? undefined };
  }

  /** Asserts that a request is rejected with this name and message, and status 403. */
  async function assertRejected(name, text, answer) {
    const error = await answer.then(() => assert.fail(`not rejected with ${name}`), (error) => error);
    assert.deepEqual([error.name, error.status], [name, 403]);
    assert.match(error.message, text);
  }

  for (const [sdk, connect] of Object.entries(SDKS)) {
    test(`${sdk}: a created key gives access to its account`, async () => {
      const { stage } = await connect(testServer.endpoint, createKey()).createStage({});
      assert.match(stage.arn, new RegExp(`^arn:aws:ivs:${REGION}:${ACCOUNT}:stage/`));
    });

    test(`${sdk}: a key with a session token is invalid without it`, async () => {
      const key = createKey("--session-token");
      await connect(testServer.endpoint, key).listStages();
      const without = { ...key, sessionToken: undefined };
      await assertRejected("UnrecognizedClientException", /token/, connect(testServer.endpoint, without).listStages());
    });

    test(`${sdk}: a wrong secret and an unknown key are rejected with different errors`, async () => {
      const wrong = { ...createKey(), secretAccessKey: "wrong" };
      await assertRejected("InvalidSignatureException", /signature/, connect(testServer.endpoint, wrong).listStages());
      const unknown = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "test" };
      await assertRejected("UnrecognizedClientException", /token/, connect(testServer.endpoint, unknown).listStages());
    });

    test(`${sdk}: an action that a policy does not allow is an AccessDeniedException`, async () => {
      const policy = join(folder, "policy.json");
      const statement = { Effect: "Allow", Action: "ivs:CreateStage", Resource: "*" };
      writeFileSync(policy, JSON.stringify({ Version: "2012-10-17", Statement: [statement] }));
      const client = connect(testServer.endpoint, createKey("--name", "alice", "--policy", policy));
      await client.createStage({});
      const text = `^User: arn:aws:iam::${ACCOUNT}:user/alice is not authorized to perform: ivs:ListStages on resource: `;
      await assertRejected("AccessDeniedException", new RegExp(text), client.listStages());
    });
  }
});
