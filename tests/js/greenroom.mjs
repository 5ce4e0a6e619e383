/** What the tests of both JavaScript SDKs share: a test server, accounts, a key, and sentences to check errors with. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";

export const REGION = "eu-west-1";

/** The SDKs' clocks go on while that of the test server is moved. */
const ANY_TIME = ["--clock-skew-seconds", "1000000000"];

/** A server whose clock stands still and whose participants move by command, one JSON line each way. */
export class TestServer {
  static async start(...flags) {
    const store = flags.includes("--database-url") ? [] : ["--database-url", "sqlite::memory:"];
    const arguments_ = ["--listen", "127.0.0.1:0", ...store, ...ANY_TIME, ...flags];
    const hand = new TestServer(spawn(process.env.TEST_SERVER_BIN, arguments_, { stdio: ["pipe", "pipe", "inherit"] }));
    hand.endpoint = (await hand.#answer()).endpoint;
    return hand;
  }

  #process;
  #lines;

  constructor(process_) {
    this.#process = process_;
    this.#lines = createInterface({ input: process_.stdout })[Symbol.asyncIterator]();
  }

  /** Gives one command and returns what it answers; a refusal fails the test. */
  async do(verb, members = {}) {
    this.#process.stdin.write(`${JSON.stringify({ do: verb, ...members })}\n`);
    const answer = await this.#answer();
    assert.ok("ok" in answer, `${verb}: ${JSON.stringify(answer)}`);
    return answer.ok;
  }

  advance(seconds) {
    return this.do("advance", { seconds });
  }

  /** Joins and publishes, and answers the session. */
  async publish(stage, participant, members = {}) {
    const { sessionId } = await this.do("join", { stage, participant, ...members });
    await this.do("publish", { stage, participant });
    return sessionId;
  }

  /** Closes the commands, upon which the server stops by itself. */
  async stop() {
    const exit = once(this.#process, "exit");
    this.#process.stdin.end();
    assert.deepEqual(await exit, [0, null]);
  }

  async #answer() {
    const { value, done } = await this.#lines.next();
    assert.ok(!done, "the test server said nothing more");
    return JSON.parse(value);
  }
}

let accounts = 300000000000;

/** Credentials of an account that no test has used yet: a development key of twelve digits names it. */
export function freshAccount() {
  accounts += 1;
  return { accessKeyId: String(accounts), secretAccessKey: "test" };
}

/** A new P-384 public key, as PEM, and the fingerprint that it must get. */
export function freshKey() {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const der = publicKey.export({ type: "spki", format: "der" });
  const fingerprint = createHash("md5").update(der).digest("hex").match(/../g).join(":");
  return { pem: publicKey.export({ type: "spki", format: "pem" }), fingerprint };
}

/** An ARN of this account with a made id. */
export function arnOf(account, kind) {
  return new RegExp(`^arn:aws:ivs:${REGION}:${account}:${kind}/[A-Za-z0-9]{12}$`);
}

export const PARTICIPANT_ID = /^[A-Za-z0-9]{12}$/;
export const SESSION_ID = /^st-[A-Za-z0-9]{13}$/;

/** A channel of the account; channels belong to another service, which is not asked. */
export const channelArn = (account) => `arn:aws:ivs:${REGION}:${account}:channel/abcdefghijkl`;

/** The claims of a token, unverified: what client programs read of it. */
export const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));

/** Walks pages by hand: `list` gives the page after a token. Answers the pages. */
export async function walk(list) {
  const pages = [];
  let nextToken;
  do {
    const page = await list(nextToken);
    pages.push(page);
    nextToken = page.nextToken;
  } while (nextToken);
  return pages;
}

/** The values of a list's items, sorted: to compare what was made with what is listed. */
export const sorted = (values) => [...values].sort();
