/** Explanations of token errors. Only the service verifies tokens. */

const MINUTE = 60;

const HINTS = {
  TOKEN_MALFORMED: () => "Copy the whole token: three parts with two dots between them, as create-participant-token prints it.",
  TOKEN_EXPIRED: ({ exp }) => `${exp ? `It expired ${when(exp)}. ` : ""}Make a new one, with a longer --duration if need be.`,
  TOKEN_NOT_YET_VALID: ({ iat }) => `${iat ? `It was issued ${when(iat)}. ` : ""}Set the clocks of its issuer and of the service.`,
  TOKEN_KEY_UNKNOWN: () =>
    "Another service or another store signed it, or its public key was deleted. Make one with this service.",
  TOKEN_SIGNATURE_INVALID: () => "It was changed or cut off on its way, or signed with another key. Copy it again.",
  TOKEN_NOT_ALLOWED: ({ resource }) => `It is for ${resource ?? "another stage"}. Make a token for the stage to join.`,
  TOKEN_SUPERSEDED: () => "It was exchanged for a newer token of this participant. Use that one.",
  TOKEN_REUSED: () => "The same token joined in another window. A token holds one place; make one for each participant.",
  CONNECTION_TOKEN_REVOKED: () => "RevokeConnectionToken has ended it. Make a new token.",
  PARTICIPANT_DISCONNECTED: () => "DisconnectParticipant has banned this participant. Make a token for another one.",
  STAGE_DELETED: ({ resource }) => `${resource ?? "Its stage"} no longer exists. Create a stage, and a token for it.`,
  INSUFFICIENT_CAPABILITIES: () => "Make a token with the capability PUBLISH or SUBSCRIBE.",
  NOT_REACHED: () => "Check the network; the token names that address, and the operator sets it with --public-url.",
  SecurityError: ({ events_url: url }) =>
    `This page came by https://, and the token names ${url ?? "an address without TLS"}. The operator sets --public-url to https://….`,
  CLOSED_1006: ({ events_url: url }) =>
    `${url ?? "The service"} could not be reached. The token names that address; the operator sets it with --public-url.`,
};

/** A hint, or nothing. `claims` are those of the rejected token. */
export function hintFor(code, claims) {
  return HINTS[code]?.(claims ?? {}) ?? null;
}

/** A Unix time, absolute and relative. */
function when(seconds) {
  const minutes = Math.round((Date.now() / 1000 - seconds) / MINUTE);
  const at = new Date(seconds * 1000).toLocaleString();
  if (minutes === 0) return `just now (${at})`;
  const distance = `${Math.abs(minutes)} minute${Math.abs(minutes) === 1 ? "" : "s"}`;
  return minutes > 0 ? `${distance} ago (${at})` : `${distance} from now (${at})`;
}
