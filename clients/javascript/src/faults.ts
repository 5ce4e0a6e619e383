import { type Participant, idOf } from "./participants.js";
import { type Json, type Transport, defined, segment } from "./transport.js";

/** What a fault matches: all that is given. */
export interface Match {
  operation?: string | string[];
  /** An ARN, or a prefix that ends with `*`. */
  resource?: string;
  accessKeyId?: string;
  participant?: Participant | string;
  /** The share of matches that have the effect, from 0 to 1. */
  share?: number;
  /** The name of an event target. */
  target?: string;
  /** The name of a bucket. */
  bucket?: string;
}

/** The effect of a fault. */
export type Effect =
  | { exception: string; message?: string }
  | { status: number; body?: string; headers?: Record<string, string> }
  | { throttle: { retryAfterSeconds: number } }
  | {
      latency:
        | { milliseconds: number }
        | { minMilliseconds: number; maxMilliseconds: number }
        | { meanMilliseconds: number; deviationMilliseconds: number };
    }
  /** `afterRequest`: the operation was done, and the client does not learn it. */
  | { disconnect: "beforeRequest" | "afterRequest" }
  | { truncate: { bytes: number } }
  | { refuseToken: { code?: string } }
  | { closeWebSocket: { code?: number } }
  | { media: { freeze: true } | { loss: number } | { delayMilliseconds: number } }
  | { closeConnection: Record<string, never> }
  | { target: "refuse" | "hang" }
  /** Uploads of recordings fail, to the bucket of the match. */
  | { storage: "refuse" | "hang" };

/** The limits of a fault. It is removed after `durationSeconds`, by default an hour. */
export interface Limits {
  count?: number;
  skip?: number;
  durationSeconds?: number;
  seed?: number;
}

interface Rule {
  id: string;
  matched: number;
  applied: number;
  match: Json;
  effect: Json;
}

/** A rule on the server. `await using` removes it at the end of the block. */
export class Fault {
  constructor(
    private readonly transport: Transport,
    readonly rule: Rule,
  ) {}

  get id(): string {
    return this.rule.id;
  }

  /** How many matches there were, as of now, including those that `skip` leaves without the effect. */
  async matched(): Promise<number> {
    return (await this.current()).matched;
  }

  /** How many matches had the effect, as of now. */
  async applied(): Promise<number> {
    return (await this.current()).applied;
  }

  async remove(): Promise<void> {
    await this.transport.call("DELETE", `/faults/${segment(this.id)}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }

  private current(): Promise<Rule> {
    return this.transport.call<Rule>("GET", `/faults/${segment(this.id)}`);
  }
}

/** The faults of an account. */
export class Faults {
  constructor(private readonly transport: Transport) {}

  async add(match: Match, effect: Effect, limits: Limits = {}): Promise<Fault> {
    const { participant, ...members } = match;
    const participantId = participant === undefined ? undefined : idOf(participant);
    const body = defined({ match: defined({ ...members, participantId }), effect, ...limits });
    return new Fault(this.transport, await this.transport.call<Rule>("POST", "/faults", body));
  }

  async list(): Promise<Fault[]> {
    const { faults } = await this.transport.call<{ faults: Rule[] }>("GET", "/faults");
    return faults.map((rule) => new Fault(this.transport, rule));
  }

  /** Removes all faults of the account. */
  async clear(): Promise<void> {
    await this.transport.call("DELETE", "/faults");
  }
}
