import { createHash, createHmac } from "node:crypto";
import type { Credentials } from "./credentials.js";

const ALGORITHM = "AWS4-HMAC-SHA256";

const hash = (data: string | Uint8Array): string => createHash("sha256").update(data).digest("hex");
const hmac = (key: string | Uint8Array, data: string): Buffer => createHmac("sha256", key).update(data).digest();
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** What is signed. The path of `url` is percent-encoded already. */
export interface Unsigned {
  method: string;
  url: URL;
  body: Uint8Array;
}

/** The headers of a signature, version 4: `authorization` and those that it covers, except `host`. */
export function sign(
  request: Unsigned,
  key: Credentials,
  region: string,
  service: string,
  now: Date = new Date(),
): Record<string, string> {
  const time = now.toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = [time.slice(0, 8), region, service, "aws4_request"].join("/");
  const headers = { host: request.url.host, "x-amz-date": time };
  const names = Object.keys(headers).join(";");
  const canonical = [
    request.method,
    // All services but S3 encode the path, which is encoded already, once more.
    request.url.pathname.split("/").map(encode).join("/"),
    queryOf(request.url),
    ...Object.entries(headers).map(([name, value]) => `${name}:${value}`),
    "",
    names,
    hash(request.body),
  ].join("\n");
  const text = [ALGORITHM, time, scope, hash(canonical)].join("\n");
  const secret = scope.split("/").reduce<string | Buffer>((derived, part) => hmac(derived, part), `AWS4${key.secretAccessKey}`);
  const signature = hmac(secret, text).toString("hex");
  return {
    "x-amz-date": time,
    authorization: `${ALGORITHM} Credential=${key.accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
}

function queryOf(url: URL): string {
  const pairs = [...url.searchParams].map(([name, value]) => `${encode(name)}=${encode(value)}`);
  return pairs.sort().join("&");
}
