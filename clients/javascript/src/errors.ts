/** Base class of all errors of the kit. */
export class GreenroomError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A server was not found, did not start, or ended. The message contains the end of its log. */
export class ServerError extends GreenroomError {}

/** The clock belongs to the whole server, and other tests use that server at the same time. */
export class SharedClockError extends GreenroomError {}

/** An error response of the test API, with the server's message. */
export class ApiError extends GreenroomError {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly serverMessage: string,
    request: string,
  ) {
    super(`${code}: ${serverMessage} (${request}: status ${status})`);
  }
}

/** The request is invalid; the message names the member. */
export class ValidationError extends ApiError {}

/** The request is not allowed to use the test API, or to act on that account. */
export class AccessDenied extends ApiError {}

/** The resource does not exist. */
export class NotFound extends ApiError {}

/** The state of the server does not allow the request. */
export class Conflict extends ApiError {}

/** The server does not serve the test API: start it with `--test-api=on`. */
export class TestApiMissing extends ApiError {}

/** No such call or event happened in time. `closest` describes the most similar one. */
export class WaitTimeout extends GreenroomError {
  constructor(
    message: string,
    readonly closest: string | undefined,
    readonly seen: number,
  ) {
    super(message);
  }
}

const CLASSES: Record<string, typeof ApiError> = {
  ValidationException: ValidationError,
  SerializationException: ValidationError,
  AccessDeniedException: AccessDenied,
  ResourceNotFoundException: NotFound,
  ConflictException: Conflict,
};

/** The error of a response. */
export function errorOf(status: number, code: string, message: string, request: string): ApiError {
  if (code === "UnknownOperationException" && !message.includes("has no endpoint")) {
    const advice = "the server must run with --test-api=on or --test-api=public";
    return new TestApiMissing(status, code, message ? `${message}; ${advice}` : advice, request);
  }
  return new (CLASSES[code] ?? ApiError)(status, code, message, request);
}
