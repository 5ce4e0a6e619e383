export { Greenroom, type GreenroomOptions } from "./client.js";
export { Clock } from "./clock.js";
export type { Credentials } from "./credentials.js";
export {
  AccessDenied,
  ApiError,
  Conflict,
  GreenroomError,
  NotFound,
  ServerError,
  SharedClockError,
  TestApiMissing,
  ValidationError,
  WaitTimeout,
} from "./errors.js";
export { type Effect, Fault, Faults, type Limits, type Match } from "./faults.js";
export { type CallQuery, type Entry, Journal, type Pattern, type StageEvent, type WaitOptions } from "./journal.js";
export {
  type Capability,
  type ErrorEvent,
  type Exchange,
  type JoinOptions,
  type JoinTarget,
  type MediaKind,
  Participant,
  Participants,
  type ParticipantState,
} from "./participants.js";
export { type Moment, Scenario, ScenarioRun, Scenarios, type TimeMode } from "./scenarios.js";
export { Server, type ServerOptions, type StartOptions } from "./server.js";
export { Seeded, type SeededSession, Snapshot, Snapshots } from "./state.js";
export type { Duration, Time } from "./times.js";
