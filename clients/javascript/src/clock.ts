import { SharedClockError } from "./errors.js";
import { type Duration, type Time, iso, seconds } from "./times.js";
import { type Json, type Transport, defined } from "./transport.js";

interface ClockState {
  now: string;
  frozen: boolean;
}

/**
 * The clock of the whole server: of all its accounts.
 *
 * Moving it is refused if other tests use the server at the same time (`exclusive` is false).
 */
export class Clock {
  /** Whether this client has changed the clock, and not resumed it. */
  private changed = false;

  constructor(
    private readonly transport: Transport,
    readonly exclusive: boolean,
  ) {}

  async now(): Promise<Date> {
    return new Date((await this.transport.call<ClockState>("GET", "/clock")).now);
  }

  async isFrozen(): Promise<boolean> {
    return (await this.transport.call<ClockState>("GET", "/clock")).frozen;
  }

  /** Sets the time, or whether it is frozen, or both. What becomes due is done before this returns. */
  async set(change: { now?: Time; frozen?: boolean }): Promise<Date> {
    const now = change.now === undefined ? undefined : iso(change.now);
    return this.change("PUT", "/clock", defined({ now, frozen: change.frozen }));
  }

  /** Stops the clock, at the current time or at a given one. */
  async freeze(at?: Time): Promise<Date> {
    return this.set(at === undefined ? { frozen: true } : { now: at, frozen: true });
  }

  /** Moves the clock forward. What becomes due is done, in its order, before this returns. */
  async advance(duration: Duration): Promise<Date> {
    return this.change("POST", "/clock/advance", { seconds: seconds(duration) });
  }

  async advanceTo(time: Time): Promise<Date> {
    return this.change("POST", "/clock/advance", { to: iso(time) });
  }

  /** Returns to the time of the system. */
  async resume(): Promise<void> {
    this.requireExclusive();
    await this.transport.call("DELETE", "/clock", undefined, { all: true });
    this.changed = false;
  }

  /** Runs a function while the clock stands still, and resumes it afterwards. */
  async frozen<T>(run: (clock: Clock) => T | Promise<T>, at?: Time): Promise<T> {
    await this.freeze(at);
    return this.andResume(run);
  }

  /** Moves the clock to a time or by a duration, runs a function, and resumes the clock afterwards. */
  async timeTravel<T>(move: { to: Time } | { by: Duration }, run: (clock: Clock) => T | Promise<T>): Promise<T> {
    if ("to" in move) await this.set({ now: move.to });
    else await this.advance(move.by);
    return this.andResume(run);
  }

  /** @internal Resumes the clock if this client has changed it. */
  async resumeIfChanged(): Promise<void> {
    if (this.changed) await this.resume();
  }

  /** @internal Notes that a scenario in virtual time moves the clock. */
  willMove(): void {
    this.requireExclusive();
    this.changed = true;
  }

  private async andResume<T>(run: (clock: Clock) => T | Promise<T>): Promise<T> {
    try {
      return await run(this);
    } finally {
      await this.resume();
    }
  }

  private async change(method: string, path: string, body: Json): Promise<Date> {
    this.willMove();
    return new Date((await this.transport.call<ClockState>(method, path, body, { all: true })).now);
  }

  private requireExclusive(): void {
    if (this.exclusive) return;
    throw new SharedClockError(
      "the clock is that of the whole server, and other tests use this server at the same time: use a server of the test's own (Server.start())",
    );
  }
}
