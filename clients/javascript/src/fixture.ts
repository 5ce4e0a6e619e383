import type { Greenroom } from "./client.js";
import { GreenroomError } from "./errors.js";
import { Server, type StartOptions } from "./server.js";

const JOURNAL_ENTRIES = 20;

/** The account of a test, and what follows at its end: the clock resumes, and the account is reset. */
export async function isolate(server: Server): Promise<{ greenroom: Greenroom; release: () => Promise<void> }> {
  const greenroom = await server.isolated();
  const release = async (): Promise<void> => {
    await greenroom.clock.resumeIfChanged();
    await greenroom.reset();
  };
  return { greenroom, release };
}

/** The last calls of an account, as text for the report of a failed test. */
export async function journalText(greenroom: Greenroom): Promise<string> {
  try {
    const calls = (await greenroom.calls()).slice(-JOURNAL_ENTRIES);
    const lines = calls.map((call) => {
      const fault = call.fault ? ` (fault ${call.fault})` : "";
      return `${call.time} ${call.operation} ${JSON.stringify(call.input)} -> ${call.error?.code ?? call.status}${fault}`;
    });
    return [`greenroom: last calls of account ${greenroom.account}`, ...(lines.length > 0 ? lines : ["no calls"])].join("\n");
  } catch (error) {
    if (!(error instanceof GreenroomError)) throw error;
    return `greenroom: the journal cannot be read: ${error.message}`;
  }
}

/** The server of a test file, and the account of its current test. */
export class Kit {
  private current: { greenroom: Greenroom; release: () => Promise<void> } | undefined;
  private started: Server | undefined;

  /** The control client of the current test's account. */
  get greenroom(): Greenroom {
    if (!this.current) throw new GreenroomError("there is no account: use greenroom in a test or in a hook of one");
    return this.current.greenroom;
  }

  get server(): Server {
    if (!this.started) throw new GreenroomError("the server has not started: use it in a test or in a hook");
    return this.started;
  }

  /** @internal */
  async start(options: StartOptions): Promise<void> {
    this.started = await Server.start(options);
  }

  /** @internal */
  async begin(): Promise<void> {
    this.current = await isolate(this.server);
  }

  /** @internal */
  async end(): Promise<void> {
    const { current } = this;
    this.current = undefined;
    await current?.release();
  }

  /** @internal */
  async stop(): Promise<void> {
    await this.started?.stop();
  }
}
