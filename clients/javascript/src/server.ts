import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { Greenroom } from "./client.js";
import { type Credentials, developmentKey, randomAccount } from "./credentials.js";
import { ServerError } from "./errors.js";
import { type Running, newKey, startContainer, startProcess, waitUntilReady } from "./process.js";
import { send } from "./transport.js";

const START_SECONDS = 30;
const READY_PATH = "/_greenroom/ready";
const SERVER_ACCOUNT = "000000000000";
const DEFAULT_REGION = "us-east-1";

/** How to find or start a server. */
export interface StartOptions {
  /** A server that runs already (default: GREENROOM_ENDPOINT). */
  endpoint?: string | undefined;
  /** The server's program (default: GREENROOM_BIN, or `greenroom` of the PATH). */
  binary?: string | undefined;
  /** A container image (default: GREENROOM_IMAGE). */
  image?: string | undefined;
  /**
   * An access key of the server's own account, if the server requires signatures (default: GREENROOM_ACCESS_KEY_ID and
   * GREENROOM_SECRET_ACCESS_KEY).
   */
  credentials?: Credentials | undefined;
  /** A database URL, or `temporary`: a SQLite file, deleted at the end. By default in memory. */
  store?: string;
  region?: string;
  /** Further flags of the server. */
  args?: string[];
  /** Further settings of the server. */
  env?: Record<string, string>;
  /** No other test uses the server at the same time, so that its clock can be moved (default: not for an endpoint). */
  exclusive?: boolean;
  timeoutSeconds?: number;
}

/** A server that runs. */
export interface ServerOptions {
  region?: string;
  credentials?: Credentials | undefined;
  exclusive?: boolean;
  /** The server's own account (`--account`). */
  ownAccount?: string;
}

/** A server. `start` finds or starts one; `await using` stops it at the end of the block. */
export class Server {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: Credentials | undefined;
  readonly exclusive: boolean;
  private readonly ownAccount: string;
  private running: Running | undefined;

  constructor(endpoint: string, options: ServerOptions = {}, running?: Running) {
    this.endpoint = endpoint.replace(/\/$/, "");
    this.region = options.region ?? DEFAULT_REGION;
    this.credentials = options.credentials;
    this.exclusive = options.exclusive ?? true;
    this.ownAccount = options.ownAccount ?? SERVER_ACCOUNT;
    this.running = running;
  }

  /**
   * A server that is ready. The first of these is used: `endpoint`, `binary` or `image`; the variables GREENROOM_ENDPOINT,
   * GREENROOM_BIN or GREENROOM_IMAGE; the command `greenroom` of the PATH.
   */
  static async start(options: StartOptions = {}): Promise<Server> {
    const { region = DEFAULT_REGION, args = [], env = {}, store = "sqlite::memory:", timeoutSeconds = START_SECONDS } = options;
    const { endpoint, binary, image } = choose(options);
    if (endpoint) {
      const credentials = options.credentials ?? environmentKey();
      const server = new Server(endpoint, { region, credentials, exclusive: options.exclusive ?? false });
      if (await server.isReady()) return server;
      throw new ServerError(`the server at ${endpoint} is not ready: GET ${READY_PATH} does not return 200`);
    }
    const timeoutMs = 1000 * timeoutSeconds;
    const credentials = image && !binary ? (options.credentials ?? newKey()) : undefined;
    const running =
      image && credentials
        ? await startContainer({ image, credentials, region, args, env })
        : await startProcess({ binary: binary ?? binaryOfPath(), store, region, args, env, timeoutMs });
    const server = new Server(running.endpoint, { region, credentials, exclusive: options.exclusive ?? true }, running);
    await waitUntilReady(running, () => server.isReady(), timeoutMs);
    return server;
  }

  async isReady(): Promise<boolean> {
    try {
      return (await send("GET", `${this.endpoint}${READY_PATH}`, {}, 5000)).status === 200;
    } catch {
      return false;
    }
  }

  /** The control client of a new account, at a random number. Its resources, quotas, faults and journal are its own. */
  isolated(region?: string): Promise<Greenroom> {
    return this.account(randomAccount(), region);
  }

  /** The control client of an account (default: the server's own). */
  async account(account = this.ownAccount, region = this.region): Promise<Greenroom> {
    const { endpoint, exclusive, credentials: signedBy } = this;
    return new Greenroom({ endpoint, account, region, exclusive, signedBy, credentials: await this.keyOf(account, region) });
  }

  /** The log of a server that the kit has started; otherwise empty. */
  async log(): Promise<string> {
    return (await this.running?.log()) ?? "";
  }

  /** Stops a server that the kit has started. */
  async stop(): Promise<void> {
    const { running } = this;
    this.running = undefined;
    await running?.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** The access key of an account: its development key, or a new one on a server that requires signatures. */
  private async keyOf(account: string, region: string): Promise<Credentials> {
    const own = this.credentials;
    if (!own) return developmentKey(account);
    if (account === this.ownAccount) return own;
    const maker = new Greenroom({ endpoint: this.endpoint, account, region, credentials: own, signedBy: own });
    return (await maker.seed({ accessKeys: [{ name: "testkit" }] })).accessKey("testkit");
  }
}

/** The server of the options; otherwise the first that the environment names. */
function choose(options: StartOptions): Pick<StartOptions, "endpoint" | "binary" | "image"> {
  if (options.endpoint || options.binary || options.image) return options;
  const { GREENROOM_ENDPOINT: endpoint, GREENROOM_BIN: binary, GREENROOM_IMAGE: image } = process.env;
  if (endpoint) return { endpoint };
  return binary ? { binary } : { image };
}

function binaryOfPath(): string {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const file = join(folder, "greenroom");
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  throw new ServerError(
    "greenroom was not found: install it, or name it in GREENROOM_BIN, or a server that runs in GREENROOM_ENDPOINT, or an image in GREENROOM_IMAGE",
  );
}

function environmentKey(): Credentials | undefined {
  const { GREENROOM_ACCESS_KEY_ID: accessKeyId, GREENROOM_SECRET_ACCESS_KEY: secretAccessKey } = process.env;
  return accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey } : undefined;
}
