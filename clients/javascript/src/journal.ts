import { WaitTimeout } from "./errors.js";
import { type Duration, type Time, iso, seconds } from "./times.js";
import { type Json, type Transport } from "./transport.js";

/** An EventBridge pattern. */
export type Pattern = Json;

/** A call of the AWS API, without secrets. */
export interface Entry {
  sequence: number;
  time: string;
  requestId: string;
  account: string;
  region: string;
  operation: string;
  /** `null` if it is not valid. */
  input: Json | null;
  output?: Json;
  error?: { code: string; message: string };
  /** `null` if a fault closed the connection without a response. */
  status: number | null;
  durationMilliseconds: number;
  caller: { accessKeyId: string; arn: string; sourceIp: string; userAgent: string };
  /** The id of the fault that had an effect on the call. */
  fault?: string;
}

/** An event: its envelope is that of EventBridge. */
export interface StageEvent {
  position: number;
  time: string;
  event: { id: string; "detail-type": string; resources: string[]; detail: Json & { event_name?: string } } & Json;
}

/** Which calls to read. */
export interface CallQuery {
  operation?: string;
  after?: number;
  since?: Time;
  until?: Time;
  outcome?: string;
  accessKeyId?: string;
}

/** What to wait for. `after`: only calls or events after this sequence or position count. */
export interface WaitOptions {
  count?: number;
  after?: number;
  /** By default 10 seconds. */
  timeout?: Duration;
}

interface Page<T> {
  entries: T[];
  next: number | null;
}

/** The calls and events of an account. */
export class Journal {
  constructor(private readonly transport: Transport) {}

  /** The calls, oldest first. The journal has the last 10,000 of an account. */
  async calls(query: CallQuery = {}): Promise<Entry[]> {
    const { after, since, until, ...members } = query;
    return this.pages<Entry>("/journal", { ...members, ...timesOf({ since, until }) }, after);
  }

  /** The events, oldest first. */
  async events(query: { after?: number; since?: Time } = {}): Promise<StageEvent[]> {
    return this.pages<StageEvent>("/events", timesOf({ since: query.since }), query.after);
  }

  async clear(): Promise<void> {
    await this.transport.call("DELETE", "/journal");
  }

  async waitForCalls(pattern: Pattern, options: WaitOptions = {}): Promise<Entry[]> {
    return this.wait<Entry>("call", pattern, options);
  }

  async waitForEvents(pattern: Pattern, options: WaitOptions = {}): Promise<StageEvent[]> {
    return this.wait<StageEvent>("event", pattern, options);
  }

  private async wait<T>(what: "call" | "event", pattern: Pattern, options: WaitOptions): Promise<T[]> {
    const { count = 1, after = 0, timeout = 10 } = options;
    const timeoutSeconds = seconds(timeout);
    const body = { [what]: pattern, after, count, timeoutSeconds };
    const answer = await this.transport.call<{ matched: boolean; entries: T[]; seen?: number; closest?: string }>("POST", "/wait", body, {
      extraSeconds: timeoutSeconds,
    });
    if (answer.matched) return answer.entries;
    const seen = answer.seen ?? 0;
    const found = `${answer.entries.length} of ${count} ${what}s matched ${JSON.stringify(pattern)} within ${timeoutSeconds} s; ${seen} seen`;
    throw new WaitTimeout(answer.closest ? `${found}; closest: ${answer.closest}` : found, answer.closest, seen);
  }

  private async pages<T>(path: string, query: Record<string, string | undefined>, after?: number): Promise<T[]> {
    const entries: T[] = [];
    for (let next: number | null | undefined = after; next !== null; ) {
      const page: Page<T> = await this.transport.call<Page<T>>("GET", path, undefined, { query: { ...query, after: next, limit: 1000 } });
      entries.push(...page.entries);
      next = page.next;
    }
    return entries;
  }
}

function timesOf(times: Record<string, Time | undefined>): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(times).map(([name, time]) => [name, time === undefined ? undefined : iso(time)]));
}

/** The pattern of these values; a value that is an array is a pattern already. */
export function exactly(members: Json): Pattern {
  const one = (value: unknown): unknown => {
    if (Array.isArray(value)) return value;
    return typeof value === "object" && value !== null ? exactly(value as Json) : [value];
  };
  return Object.fromEntries(Object.entries(members).map(([name, value]) => [name, one(value)]));
}
