import { type Json, type Transport, defined, segment } from "./transport.js";

export type MediaKind = "audio" | "video";
export type Capability = "PUBLISH" | "SUBSCRIBE";
export type ErrorEvent = "JOIN_ERROR" | "PUBLISH_ERROR" | "SUBSCRIBE_ERROR";

/** A participant, as the test API describes it. */
export interface ParticipantState {
  participantId: string;
  token: string;
  stageArn: string;
  sessionId: string;
  userId: string;
  attributes: Record<string, string>;
  state: "CONNECTED" | "DISCONNECTED";
  publishing: boolean;
  muted: MediaKind[];
  subscriptions: string[];
}

/** How a participant joins: with a token, or with a new one with these members. `duration` is in minutes. */
export interface JoinOptions {
  token?: string;
  userId?: string;
  attributes?: Record<string, string>;
  capabilities?: Capability[];
  duration?: number;
  publish?: boolean;
  subscribe?: (Participant | string)[];
}

/** Where a participant joins: the stage's ARN or name, or a token, which names its stage. */
export type JoinTarget = string | { token: string; publish?: boolean; subscribe?: (Participant | string)[] };

/** A new token, or the members of one. */
export type Exchange = { token: string } | { attributes?: Record<string, string>; userId?: string; capabilities?: Capability[] };

/** A simulated participant. `state` is that of the last response; `refresh` reads it again. */
export class Participant {
  constructor(
    private readonly transport: Transport,
    public state: ParticipantState,
  ) {}

  get id(): string {
    return this.state.participantId;
  }

  get token(): string {
    return this.state.token;
  }

  get stageArn(): string {
    return this.state.stageArn;
  }

  get sessionId(): string {
    return this.state.sessionId;
  }

  get userId(): string {
    return this.state.userId;
  }

  publish = (): Promise<this> => this.act("publish");
  unpublish = (): Promise<this> => this.act("unpublish");
  leave = (): Promise<this> => this.act("leave");
  reconnect = (): Promise<this> => this.act("reconnect");

  subscribe(to: Participant | string): Promise<this> {
    return this.act("subscribe", { participantId: idOf(to) });
  }

  unsubscribe(from: Participant | string): Promise<this> {
    return this.act("unsubscribe", { participantId: idOf(from) });
  }

  /** Mutes these kinds of media, or both. */
  mute(...kinds: MediaKind[]): Promise<this> {
    return this.act("mute", { kinds: kinds.length > 0 ? kinds : ["audio", "video"] });
  }

  unmute(...kinds: MediaKind[]): Promise<this> {
    return this.act("unmute", { kinds: kinds.length > 0 ? kinds : ["audio", "video"] });
  }

  /** An error of the participant, with the code of an event, such as `INSUFFICIENT_CAPABILITIES`. */
  fail(code: string, options: { event?: ErrorEvent; participant?: Participant | string } = {}): Promise<this> {
    const participantId = options.participant && idOf(options.participant);
    return this.act("fail", defined({ code, event: options.event, participantId }));
  }

  /** Exchanges its token: for a given one, or for a new one with these members. */
  exchangeToken(exchange: Exchange): Promise<this> {
    return this.act("exchange", { ...exchange });
  }

  /** Reads its state again. */
  async refresh(): Promise<this> {
    this.state = await this.transport.call<ParticipantState>("GET", `/participants/${segment(this.id)}`);
    return this;
  }

  private async act(verb: string, body?: Json): Promise<this> {
    this.state = await this.transport.call<ParticipantState>("POST", `/participants/${segment(this.id)}/${verb}`, body);
    return this;
  }
}

/** The simulated participants of an account. */
export class Participants {
  constructor(private readonly transport: Transport) {}

  /** A participant joins a stage (ARN or name), or the stage of a token: `join({ token })`. */
  async join(target: JoinTarget, options: JoinOptions = {}): Promise<Participant> {
    const members = { ...(typeof target === "string" ? { stage: target } : target), ...options };
    const body = defined({ ...members, subscribe: members.subscribe?.map(idOf) });
    return new Participant(this.transport, await this.transport.call<ParticipantState>("POST", "/participants", body));
  }

  async list(stage?: string): Promise<Participant[]> {
    const answer = await this.transport.call<{ participants: ParticipantState[] }>("GET", "/participants", undefined, { query: { stage } });
    return answer.participants.map((state) => new Participant(this.transport, state));
  }

  async get(id: string): Promise<Participant> {
    return new Participant(this.transport, await this.transport.call<ParticipantState>("GET", `/participants/${segment(id)}`));
  }
}

export function idOf(participant: Participant | string): string {
  return typeof participant === "string" ? participant : participant.id;
}
