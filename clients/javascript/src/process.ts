import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { Credentials } from "./credentials.js";
import { ServerError } from "./errors.js";

const STOP_MS = 15_000;
const LOG_LINES = 40;
// Tests that fake the time of their own process (fake timers) sign with that time.
const CLOCK_SKEW_SECONDS = "1000000000";

/** A server that this program has started. */
export interface Running {
  readonly endpoint: string;
  log(): Promise<string>;
  hasEnded(): Promise<boolean>;
  stop(): Promise<void>;
}

/** How to start the program. */
export interface ProcessOptions {
  binary: string;
  store: string;
  region: string;
  args: string[];
  env: Record<string, string>;
  timeoutMs: number;
}

/** Starts a child process with free ports. It listens on a loopback address, and its requests are not signed. */
export async function startProcess(options: ProcessOptions): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), "greenroom-"));
  const store = options.store === "temporary" ? `sqlite://${folder}/greenroom.db` : options.store;
  const flags = ["--listen", "127.0.0.1:0", "--media-addr", "127.0.0.1:0", "--test-api=on", "--clock-skew-seconds", CLOCK_SKEW_SECONDS];
  // The other end of standard input closes when this process ends, also by a signal that it cannot handle.
  flags.push("--exit-on-stdin-close=on");
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("GREENROOM_"));
  const logFile = join(folder, "log");
  const log = openSync(logFile, "w");
  const child = spawn(options.binary, [...flags, "--database-url", store, "--region", options.region, ...options.args], {
    cwd: folder,
    env: { ...Object.fromEntries(kept), ...options.env },
    stdio: ["pipe", "pipe", log],
  });
  closeSync(log);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const kill = (): void => void child.kill("SIGKILL");
  const ended = once(child, "exit");
  // Rejects if the program cannot be started, which is reported below.
  ended.catch(() => undefined);
  try {
    await once(child, "spawn");
  } catch (error) {
    remove();
    throw new ServerError(`${options.binary}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
  // So that a runner that exits without stopping the server does not leave it behind.
  process.once("exit", kill);
  const timer = setTimeout(kill, options.timeoutMs);
  const endpoint = await endpointOf(child);
  clearTimeout(timer);
  const running: Running = {
    endpoint: endpoint ?? "",
    log: () => Promise.resolve(readFileSync(logFile, "utf8")),
    hasEnded: () => Promise.resolve(child.exitCode !== null || child.signalCode !== null),
    stop: async () => {
      process.off("exit", kill);
      await stop(child, ended);
      remove();
    },
  };
  if (endpoint !== undefined) {
    child.unref();
    // Its pipes would keep this program alive, too.
    for (const pipe of [child.stdin, child.stdout]) (pipe as unknown as { unref?: () => void } | null)?.unref?.();
    return running;
  }
  await ended;
  const text = await running.log();
  await running.stop();
  throw new ServerError(`the server did not start (exit code ${child.exitCode ?? child.signalCode}); its log:\n${lastLines(text)}`);
}

/** The endpoint of the startup output; the rest of the output is discarded. */
async function endpointOf(child: ChildProcess): Promise<string | undefined> {
  if (!child.stdout) return undefined;
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    const [name, endpoint] = line.trim().split(/\s+/);
    if (name !== "endpoint") continue;
    child.stdout.resume();
    return endpoint;
  }
  return undefined;
}

async function stop(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  await ended;
  clearTimeout(timer);
}

/** How to start an image. */
export interface ContainerOptions {
  image: string;
  credentials: Credentials;
  region: string;
  args: string[];
  env: Record<string, string>;
}

/** Starts a container of the docker command. Its requests are signed with the access key that it is started with. */
export async function startContainer(options: ContainerOptions): Promise<Running> {
  const [port, media] = [await freeTcpPort(), await freeUdpPort()];
  const endpoint = `http://127.0.0.1:${port}`;
  const settings: Record<string, string> = {
    GREENROOM_TEST_API: "public",
    GREENROOM_DATABASE_URL: "sqlite::memory:",
    GREENROOM_PUBLIC_URL: endpoint,
    GREENROOM_MEDIA_ADDR: `0.0.0.0:${media}`,
    GREENROOM_MEDIA_PUBLIC_IP: "127.0.0.1",
    GREENROOM_REGION: options.region,
    GREENROOM_CLOCK_SKEW_SECONDS: CLOCK_SKEW_SECONDS,
    GREENROOM_ACCESS_KEY_ID: options.credentials.accessKeyId,
    GREENROOM_SECRET_ACCESS_KEY: options.credentials.secretAccessKey,
    ...options.env,
  };
  // The names only: values, such as the secret, would be visible in the list of processes.
  const names = Object.keys(settings).flatMap((name) => ["--env", name]);
  const ports = ["--publish", `127.0.0.1:${port}:4600`, "--publish", `127.0.0.1:${media}:${media}/udp`];
  const id = (await docker(["run", "--detach", ...ports, ...names, options.image, ...options.args], settings)).trim();
  return {
    endpoint,
    log: () => docker(["logs", id]),
    hasEnded: async () => (await docker(["inspect", "--format", "{{json .State.Running}}", id])).trim() === "false",
    stop: async () => void (await docker(["rm", "--force", "--volumes", id])),
  };
}

/** The output of the docker command (or of the one that GREENROOM_DOCKER names, such as podman). */
async function docker(args: string[], env: Record<string, string> = {}): Promise<string> {
  const program = process.env.GREENROOM_DOCKER || "docker";
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, { env: { ...process.env, ...env }, maxBuffer: 64 << 20 });
    return args[0] === "logs" ? stdout + stderr : stdout;
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === "ENOENT") throw new ServerError(`the command ${program} is missing, which starts the server's image`);
    throw new ServerError(`${program} ${args[0]}: ${stderr?.trim() || String(error)}`);
  }
}

/** A new access key for a container. */
export function newKey(): Credentials {
  return { accessKeyId: `GREENROOM${randomBytes(8).toString("hex").toUpperCase()}`, secretAccessKey: randomBytes(20).toString("hex") };
}

async function freeTcpPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

async function freeUdpPort(): Promise<number> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  return port;
}

/** Waits for readiness; stops the server if it does not come. */
export async function waitUntilReady(running: Running, isReady: () => Promise<boolean>, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await isReady())) {
    const ended = await running.hasEnded();
    if (ended || Date.now() > deadline) {
      const log = await running.log();
      await running.stop();
      const reason = ended ? "the server ended" : `the server was not ready within ${timeoutMs / 1000} s`;
      throw new ServerError(`${reason}; the end of its log:\n${lastLines(log)}`);
    }
    await sleep(20);
  }
}

/** The last lines of a log. */
export function lastLines(log: string, count = LOG_LINES): string {
  return log.trimEnd().split("\n").slice(-count).join("\n");
}
