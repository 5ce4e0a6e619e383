import type { Credentials } from "./credentials.js";
import { ServerError, errorOf } from "./errors.js";
import { sign } from "./sigv4.js";

export const ROOT = "/_greenroom/test";
export const SNAPSHOT_TYPE = "application/vnd.greenroom.snapshot+jsonl";
const READ_TIMEOUT_MS = 60_000;

export type Json = Record<string, unknown>;

/** The options of a request. */
export interface CallOptions {
  /** The request applies to all accounts. */
  all?: boolean;
  query?: Record<string, string | number | undefined>;
  /** Further time for the response, in seconds. */
  extraSeconds?: number;
}

/** Sends a request; errors of the connection name the server. */
export async function send(method: string, url: URL | string, init: RequestInit = {}, timeoutMs = READ_TIMEOUT_MS): Promise<Response> {
  try {
    return await fetch(url, { ...init, method, signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    const cause = error instanceof Error ? (error.cause instanceof Error ? error.cause : error) : undefined;
    throw new ServerError(`${method} ${String(url)}: no response from the server: ${cause?.message ?? String(error)}`, { cause: error });
  }
}

/** Requests to the test API of one server, for one account and region. */
export class Transport {
  constructor(
    readonly endpoint: string,
    readonly account: string,
    readonly region: string,
    /** Signs requests for the account, and those for all accounts; `undefined`: requests are not signed. */
    private readonly keys?: { own: Credentials; all: Credentials },
  ) {}

  /** Sends JSON, and returns the JSON of the response. */
  async call<T = Json>(method: string, path: string, body?: unknown, options: CallOptions = {}): Promise<T> {
    const text = body === undefined ? "" : JSON.stringify(body);
    const response = await this.send(method, path, text, "application/json", options);
    return JSON.parse((await response.text()) || "{}") as T;
  }

  /** Sends a body; throws for an error response. */
  async send(method: string, path: string, body: string | Uint8Array, contentType: string, options: CallOptions = {}): Promise<Response> {
    const url = new URL(`${this.endpoint}${ROOT}${path}`);
    const selection = options.all ? { all: "true" } : { account: this.account, region: this.region };
    for (const [name, value] of Object.entries({ ...selection, ...options.query })) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    const key = options.all ? this.keys?.all : this.keys?.own;
    const headers: Record<string, string> = key ? sign({ method, url, body: bytes }, key, this.region, "ivs") : {};
    const init: RequestInit = { headers };
    if (bytes.length > 0) {
      headers["content-type"] = contentType;
      init.body = bytes as Uint8Array<ArrayBuffer>;
    }
    const response = await send(method, url, init, READ_TIMEOUT_MS + 1000 * (options.extraSeconds ?? 0));
    if (!response.ok) throw await errorFrom(response, `${method} ${ROOT}${path}`);
    return response;
  }
}

async function errorFrom(response: Response, request: string): Promise<Error> {
  const code = response.headers.get("x-amzn-errortype")?.split(":")[0] || "UnknownError";
  const text = await response.text();
  let message = text.slice(0, 200);
  try {
    message = String((JSON.parse(text) as { message?: unknown }).message ?? "");
  } catch {
    // The response of a proxy, for example: its text is the message.
  }
  return errorOf(response.status, code, message, request);
}

/** A name as a segment of a path. */
export const segment = encodeURIComponent;

/** An object without the members that are undefined. */
export function defined(members: Json): Json {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
