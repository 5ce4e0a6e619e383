import { Clock } from "./clock.js";
import type { Credentials } from "./credentials.js";
import { type Effect, type Fault, Faults, type Limits, type Match } from "./faults.js";
import { type Entry, Journal, type Pattern, type StageEvent, type WaitOptions, exactly } from "./journal.js";
import { type JoinOptions, type JoinTarget, type Participant, Participants } from "./participants.js";
import { Scenario, type ScenarioRun, Scenarios, type TimeMode } from "./scenarios.js";
import { type Seeded, Snapshots, seed } from "./state.js";
import type { Duration, Time } from "./times.js";
import { type Json, Transport } from "./transport.js";

/** A client of an account. */
export interface GreenroomOptions {
  endpoint: string;
  account: string;
  region: string;
  /** The account's access key. */
  credentials: Credentials;
  /** The key of the server's own account, if the server requires signatures (`--test-api=public`). */
  signedBy?: Credentials | undefined;
  /** No other test uses the server at the same time, so that its clock can be moved. */
  exclusive?: boolean;
}

/**
 * Controls one account in one region of a server.
 *
 * The methods here are the common ones; `clock`, `participants`, `scenarios`, `faults`, `journal` and `snapshots` have all of
 * them. Everything but the clock applies to this account only.
 */
export class Greenroom {
  readonly endpoint: string;
  readonly account: string;
  readonly region: string;
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly participants: Participants;
  readonly scenarios: Scenarios;
  readonly faults: Faults;
  readonly journal: Journal;
  readonly snapshots: Snapshots;
  private readonly transport: Transport;

  constructor(options: GreenroomOptions) {
    const { endpoint, account, region, credentials, signedBy, exclusive = true } = options;
    [this.endpoint, this.account, this.region, this.credentials] = [endpoint.replace(/\/$/, ""), account, region, credentials];
    this.transport = new Transport(this.endpoint, account, region, signedBy && { own: credentials, all: signedBy });
    this.clock = new Clock(this.transport, exclusive);
    this.participants = new Participants(this.transport);
    this.scenarios = new Scenarios(this.transport, this.clock);
    this.faults = new Faults(this.transport);
    this.journal = new Journal(this.transport);
    this.snapshots = new Snapshots(this.transport);
  }

  /** The configuration of a client of the AWS SDK: `new IVSRealTimeClient(greenroom.clientConfig())`. */
  clientConfig(): { endpoint: string; region: string; credentials: Credentials } {
    return { endpoint: this.endpoint, region: this.region, credentials: this.credentials };
  }

  /** Environment variables that direct a program with an AWS SDK to this account. */
  environment(): Record<string, string> {
    return {
      AWS_ENDPOINT_URL_IVS_REALTIME: this.endpoint,
      AWS_ACCESS_KEY_ID: this.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: this.credentials.secretAccessKey,
      // Those of the user belong to other credentials. An SDK treats an empty one as none.
      AWS_SESSION_TOKEN: "",
      AWS_SECURITY_TOKEN: "",
      AWS_DEFAULT_REGION: this.region,
      AWS_REGION: this.region,
    };
  }

  /** Deletes all resources of the account; returns how many, by kind. */
  async reset(): Promise<Record<string, number>> {
    return (await this.transport.call<{ deleted: Record<string, number> }>("POST", "/reset")).deleted;
  }

  /** Creates resources: of an object, or of YAML or JSON text. Either all are created, or none. */
  seed(document: Json | string): Promise<Seeded> {
    return seed(this.transport, document);
  }

  /** Runs a function while the clock stands still, and is moved by `advance` only. */
  frozen<T>(run: (clock: Clock) => T | Promise<T>, at?: Time): Promise<T> {
    return this.clock.frozen(run, at);
  }

  /** Moves the clock to a time or by a duration, runs a function, and resumes the clock. */
  timeTravel<T>(move: { to: Time } | { by: Duration }, run: (clock: Clock) => T | Promise<T>): Promise<T> {
    return this.clock.timeTravel(move, run);
  }

  /** A simulated participant joins a stage (ARN or name), or the stage of a token: `join({ token })`. */
  join(target: JoinTarget, options: JoinOptions = {}): Promise<Participant> {
    return this.participants.join(target, options);
  }

  /** A new scenario to write as code, at a stage (ARN or name). */
  scenario(stage?: string): Scenario {
    return new Scenario(this.scenarios, stage);
  }

  /** Runs a scenario from its text. */
  runScenario(text: string, options: { stage?: string; time?: TimeMode } = {}): Promise<ScenarioRun> {
    return this.scenarios.run(text, options);
  }

  /** Adds a fault: `await greenroom.fault({ operation: "CreateStage" }, { throttle: { retryAfterSeconds: 2 } }, { count: 1 })`. */
  fault(match: Match, effect: Effect, limits: Limits = {}): Promise<Fault> {
    return this.faults.add(match, effect, limits);
  }

  /** Runs a function while there is a fault, which is removed afterwards. */
  async withFault<T>(match: Match, effect: Effect, run: (fault: Fault) => T | Promise<T>, limits: Limits = {}): Promise<T> {
    const fault = await this.fault(match, effect, limits);
    try {
      return await run(fault);
    } finally {
      await fault.remove();
    }
  }

  /** The calls of the account, oldest first. */
  calls(operation?: string): Promise<Entry[]> {
    return this.journal.calls(operation === undefined ? {} : { operation });
  }

  /** The events of the account, oldest first. */
  events(): Promise<StageEvent[]> {
    return this.journal.events();
  }

  /** Waits for a call of an operation with these members of its input, or for an EventBridge pattern over an entry. */
  async waitForCall(call: string | Pattern, input: Json = {}, options: WaitOptions = {}): Promise<Entry> {
    const pattern: Pattern = typeof call === "string" ? { operation: [call] } : call;
    const wanted = Object.keys(input).length > 0 ? { ...pattern, input: exactly(input) } : pattern;
    const [found] = await this.journal.waitForCalls(wanted, options);
    return found as Entry;
  }

  /** Waits for an event of this `event_name` with these members of its detail, or for an EventBridge pattern. */
  async waitForEvent(event: string | Pattern, detail: Json = {}, options: WaitOptions = {}): Promise<StageEvent> {
    const pattern: Pattern = typeof event === "string" ? { detail: exactly({ event_name: event, ...detail }) } : event;
    const [found] = await this.journal.waitForEvents(pattern, options);
    return found as StageEvent;
  }
}
