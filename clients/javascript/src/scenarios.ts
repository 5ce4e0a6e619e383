import type { Clock } from "./clock.js";
import type { MediaKind } from "./participants.js";
import { type Duration, seconds } from "./times.js";
import { type Json, type Transport, defined, segment } from "./transport.js";

export type TimeMode = "virtual" | "real";

interface RunState {
  id: string;
  state: string;
  startedAt: string;
  endedAt?: string;
  steps: number;
  participants?: Record<string, string>;
}

/** A scenario that runs, or has run. */
export class ScenarioRun {
  constructor(
    private readonly transport: Transport,
    public document: RunState,
  ) {}

  get id(): string {
    return this.document.id;
  }

  /** `RUNNING`, `FINISHED`, … */
  get state(): string {
    return this.document.state;
  }

  /** The ids of the participants, by their names in the scenario. */
  get participants(): Record<string, string> {
    return this.document.participants ?? {};
  }

  async refresh(): Promise<this> {
    this.document = await this.transport.call<RunState>("GET", `/scenarios/${segment(this.id)}`);
    return this;
  }

  /** Stops the scenario; its participants leave. */
  async stop(): Promise<void> {
    await this.transport.call("DELETE", `/scenarios/${segment(this.id)}`);
  }
}

/** The scenarios of an account. */
export class Scenarios {
  constructor(
    private readonly transport: Transport,
    private readonly clock: Clock,
  ) {}

  /** Runs a scenario. In virtual time it has run to its end when this returns, and the clock has moved. */
  async run(scenario: string, options: { stage?: string; time?: TimeMode } = {}): Promise<ScenarioRun> {
    const { stage, time = "virtual" } = options;
    const body: Json = defined({ scenario, stage, time });
    if (time === "real") return this.made(await this.transport.call<RunState>("POST", "/scenarios", body));
    this.clock.willMove();
    const { account, region } = this.transport;
    return this.made(await this.transport.call<RunState>("POST", "/scenarios", { ...body, account, region }, { all: true }));
  }

  async list(): Promise<ScenarioRun[]> {
    const { scenarios } = await this.transport.call<{ scenarios: RunState[] }>("GET", "/scenarios");
    return scenarios.map((one) => this.made(one));
  }

  private made(document: RunState): ScenarioRun {
    return new ScenarioRun(this.transport, document);
  }
}

/** A scenario, written as code: `scenario.at(2).joins("alice").publishes("alice")`. */
export class Scenario {
  readonly lines: string[] = [];

  constructor(
    private readonly scenarios: Scenarios,
    private readonly stage?: string,
  ) {}

  /** A time after the start. */
  at(time: Duration): Moment {
    return new Moment(this, `${Number(seconds(time).toFixed(3))}s`);
  }

  /** The scenario in its text form. */
  get text(): string {
    return this.lines.map((line) => `${line}\n`).join("");
  }

  run(time: TimeMode = "virtual"): Promise<ScenarioRun> {
    return this.scenarios.run(this.text, this.stage === undefined ? { time } : { time, stage: this.stage });
  }
}

/** A time of a scenario. Each method adds a step at this time, and returns the same moment. */
export class Moment {
  constructor(
    private readonly scenario: Scenario,
    private readonly time: string,
  ) {}

  at = (time: Duration): Moment => this.scenario.at(time);
  joins = (name: string, attributes?: Record<string, string>): this =>
    this.step(`${name} joins${attributes ? ` as ${JSON.stringify(attributes)}` : ""}`);
  publishes = (name: string): this => this.step(`${name} publishes`);
  stopsPublishing = (name: string): this => this.step(`${name} stops publishing`);
  subscribes = (name: string, to: string): this => this.step(`${name} subscribes to ${to}`);
  unsubscribes = (name: string, from: string): this => this.step(`${name} unsubscribes from ${from}`);
  mutes = (name: string, kind: MediaKind): this => this.step(`${name} mutes ${kind}`);
  unmutes = (name: string, kind: MediaKind): this => this.step(`${name} unmutes ${kind}`);
  fails = (name: string, code: string): this => this.step(`${name} fails with ${code}`);
  reconnects = (name: string): this => this.step(`${name} reconnects`);
  exchangesToken = (name: string): this => this.step(`${name} exchanges its token`);
  leaves = (name: string): this => this.step(`${name} leaves`);
  everyoneLeaves = (): this => this.step("everyone leaves");
  /** `count` participants join: `viewer-1`, `viewer-2`, … */
  viewersJoin = (count: number, over: Duration = 0): this => this.step(`${count} viewers join${overOf(over)}`);
  viewersLeave = (over: Duration = 0): this => this.step(`viewers leave${overOf(over)}`);

  private step(step: string): this {
    this.scenario.lines.push(`at ${this.time} ${step}`);
    return this;
  }
}

function overOf(duration: Duration): string {
  const length = seconds(duration);
  return length > 0 ? ` over ${length}s` : "";
}
