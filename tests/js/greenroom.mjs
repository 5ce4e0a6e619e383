/** Helpers of both SDKs' tests: a test server, accounts, keys, and expected values. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";

export const REGION = "eu-west-1";

/** The SDKs' clocks run on while the test server's clock is advanced. */
const ANY_TIME = ["--clock-skew-seconds", "1000000000"];

/** A server with a stopped clock and simulated participants, controlled by commands: JSON lines on stdin and stdout. */
export class TestServer {
  static async start(...flags) {
    const store = flags.includes("--database-url") ? [] : ["--database-url", "sqlite::memory:"];
    const arguments_ = ["--listen", "127.0.0.1:0", ...store, ...ANY_TIME, ...flags];
    const server = new TestServer(spawn(process.env.TEST_SERVER_BIN, arguments_, { stdio: ["pipe", "pipe", "inherit"] }));
    server.endpoint = (await server.#answer()).endpoint;
    return server;
  }

  #process;
  #lines;

  constructor(process_) {
    this.#process = process_;
    this.#lines = createInterface({ input: process_.stdout })[Symbol.asyncIterator]();
  }

  /** Sends one command and returns its result; an error fails the test. */
  async do(verb, members = {}) {
    this.#process.stdin.write(`${JSON.stringify({ do: verb, ...members })}\n`);
    const answer = await this.#answer();
    assert.ok("ok" in answer, `${verb}: ${JSON.stringify(answer)}`);
    return answer.ok;
  }

  advance(seconds) {
    return this.do("advance", { seconds });
  }

  /** Joins and publishes; returns the session id. */
  async publish(stage, participant, members = {}) {
    const { sessionId } = await this.do("join", { stage, participant, ...members });
    await this.do("publish", { stage, participant });
    return sessionId;
  }

  /** Closes stdin, which stops the server. */
  async stop() {
    const exit = once(this.#process, "exit");
    this.#process.stdin.end();
    assert.deepEqual(await exit, [0, null]);
  }

  async #answer() {
    const { value, done } = await this.#lines.next();
    assert.ok(!done, "the test server closed its output");
    return JSON.parse(value);
  }
}

let accounts = 300000000000;

/** Credentials of a new account: a development key of twelve digits is an account id. */
export function freshAccount() {
  accounts += 1;
  return { accessKeyId: String(accounts), secretAccessKey: "test" };
}

/** A new P-384 public key as PEM, and its expected fingerprint. */
export function freshKey() {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const der = publicKey.export({ type: "spki", format: "der" });
  const fingerprint = createHash("md5").update(der).digest("hex").match(/../g).join(":");
  return { pem: publicKey.export({ type: "spki", format: "pem" }), fingerprint };
}

/** Matches an ARN of this account with a generated id. */
export function arnOf(account, kind) {
  return new RegExp(`^arn:aws:ivs:${REGION}:${account}:${kind}/[A-Za-z0-9]{12}$`);
}

export const PARTICIPANT_ID = /^[A-Za-z0-9]{12}$/;
export const SESSION_ID = /^st-[A-Za-z0-9]{13}$/;

/** The ARN of a channel of the account; channels are resources of another service and are not checked. */
export const channelArn = (account) => `arn:aws:ivs:${REGION}:${account}:channel/abcdefghijkl`;

/** The claims of a token, unverified, as clients read them. */
export const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));

/** Paginates by hand: `list` returns the page of a token. Returns all pages. */
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

/** A sorted copy. */
export const sorted = (values) => [...values].sort();
