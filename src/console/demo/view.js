/** Renders the model. Untrusted values are rendered as text, never as markup. */

import { now } from "./stage.js";

const LOGGED = 300; // entries that stay on the screen
const SLOW = 3000; // milliseconds after which a connection should have been made
const PHASES = { idle: "Not joined", joining: "Joining…", joined: "Joined", left: "Left" };

export const byId = (id) => document.getElementById(id);

const tiles = new Map(); // by the id of the participant
const made = (template) => byId(template).content.firstElementChild.cloneNode(true);

export function render(model, stage, toggle) {
  const joined = model.phase === "joined";
  const phase = byId("phase");
  phase.dataset.phase = model.phase;
  setText(phase, joined ? `Joined as ${model.participantId}` : phaseOf(model));
  byId("join").hidden = joined || model.phase === "joining";
  byId("room").hidden = model.stageId === null && model.log.length === 0;
  byId("leave").hidden = !joined;
  byId("room").classList.toggle("over", !joined);
  byId("publish").disabled = !joined || Boolean(stage.publication) || !stage.may("allow_publish");
  byId("unpublish").disabled = !joined || !stage.publication;
  byId("error").hidden = model.error === null;
  setText(byId("error").querySelector("strong"), model.error?.code ?? "");
  setText(byId("error").querySelector("span"), model.error?.message ?? "");
  setText(byId("error").querySelector("small"), model.error?.hint ?? "");
  byId("notice").hidden = !model.notice;
  setText(byId("notice"), model.notice ?? "");
  renderPeople(model);
  renderTiles(model, stage, toggle);
}

// Where the focus moves when the focused element disappears or is disabled.
const NEXT = { publish: ["unpublish"], unpublish: ["publish"], leave: ["token"] };
const USUAL = ["publish", "unpublish", "source", "leave", "token"];
let homeless = null; // the element that had the focus, until there is one to go to

/** Renders, and keeps the keyboard focus near where it was. */
export function keepingFocus(draw) {
  const active = document.activeElement;
  const before = active && active !== document.body ? active : homeless;
  draw();
  const usable = (element) => element.isConnected && element.checkVisibility() && !element.disabled;
  if (!before || usable(before)) {
    homeless = null;
    return;
  }
  const next = [...(NEXT[before.id] ?? []), ...USUAL].map(byId).find(usable);
  homeless = next ? null : before;
  next?.focus();
}

function phaseOf({ phase, closed, stageId }) {
  const left = stageId === null ? PHASES.idle : PHASES.left;
  if (phase === "left" && !closed) return left;
  return phase === "left"
    ? `${left} (${closed.code}${closed.reason ? `, ${closed.reason}` : ""})`
    : PHASES[phase];
}

/** Unchanged text is not updated, so that screen readers do not repeat it. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function renderPeople({ participants, participantId }) {
  const people = byId("people");
  const key = JSON.stringify([participants, participantId]);
  if (people.dataset.key === key) return;
  people.dataset.key = key;
  people.replaceChildren(
    ...participants.map(({ id, userId, attributes, isPublishing }) => {
      const row = made("person");
      row.dataset.participant = id;
      row.classList.toggle("publishing", isPublishing);
      row.querySelector(".dot").title = isPublishing ? "publishes" : "does not publish";
      row.querySelector("strong").textContent = nameOf(id, userId) + (id === participantId ? " (you)" : "");
      row.querySelector("code").textContent = id;
      fillAttributes(row.querySelector(".attributes"), attributes);
      return row;
    }),
  );
}

const nameOf = (id, userId) => userId || `guest ${id.slice(0, 4)}`;

function fillAttributes(element, attributes) {
  const chips = Object.entries(attributes ?? {}).map(([name, value]) => {
    const chip = document.createElement("span");
    chip.textContent = `${name}: ${value}`;
    return chip;
  });
  element.replaceChildren(...chips);
}

/** A tile for each publisher, including oneself. */
function renderTiles(model, stage, toggle) {
  const shown = model.participants.filter(({ id, isPublishing }) => isPublishing && id !== model.participantId);
  const myself = model.participants.find(({ id }) => id === model.participantId);
  if (stage?.publication) shown.unshift(myself ?? { id: stage.id, userId: stage.claims.user_id, attributes: {} });
  const ids = new Set(shown.map(({ id }) => id));
  for (const [id, tile] of tiles) {
    if (ids.has(id)) continue;
    tile.remove();
    tiles.delete(id);
  }
  for (const participant of shown) {
    const mine = participant.id === stage.id;
    const tile = tiles.get(participant.id) ?? newTile(participant.id, mine, toggle);
    const connection = mine ? stage.publication : stage.subscriptions.get(participant.id);
    fillTile(tile, participant, connection);
  }
  byId("no-publishers").hidden = shown.length > 0;
}

function newTile(id, mine, toggle) {
  const tile = made("tile");
  tile.dataset.participant = id;
  tile.classList.toggle("mine", mine);
  tile.querySelector("video").muted = mine; // prevents an echo
  const button = tile.querySelector("button");
  button.hidden = mine;
  button.addEventListener("click", () => toggle(id));
  byId("tiles")[mine ? "prepend" : "append"](tile);
  tiles.set(id, tile);
  return tile;
}

function fillTile(tile, { id, userId, attributes }, connection) {
  const set = (selector, text) => setText(tile.querySelector(selector), text);
  const video = tile.querySelector("video");
  const stream = connection?.stream ?? null;
  if (video.srcObject !== stream) video.srcObject = stream;
  video.ariaLabel = `Picture of ${nameOf(id, userId)}`;
  const key = JSON.stringify(attributes);
  if (tile.dataset.attributes !== key) fillAttributes(tile.querySelector(".attributes"), attributes);
  tile.dataset.attributes = key;
  set(".who strong", nameOf(id, userId));
  set(".who code", id);
  set(".state", stateOf(tile.classList.contains("mine"), connection));
  set("button", connection ? "Stop receiving" : "Receive");
  tile.querySelector("button").ariaLabel = `${connection ? "Stop receiving" : "Receive"} ${nameOf(id, userId)}`;
  tile.querySelector("meter").ariaLabel = `Sound level of ${nameOf(id, userId)}`;
  fillNumbers(tile, connection?.measured);
}

function stateOf(mine, connection) {
  if (!connection) return "not received";
  if (connection.state === "connecting") {
    const slow = connection.server && now() - connection.startedAt > SLOW;
    return slow ? `connecting… no answer from ${connection.server} (UDP) yet` : "connecting…";
  }
  return mine ? "publishing" : "receiving";
}

function fillNumbers(tile, numbers) {
  const set = (name, text) => setText(tile.querySelector(`[data-is="${name}"]`), text);
  const { video, audio, bitrate, packetsLost, level } = numbers ?? {};
  tile.querySelector("meter").value = level ?? 0;
  const size = video?.width ? `${video.width}×${video.height}, ${Math.round(video.framesPerSecond)}/s` : "–";
  set("size", [size, video?.codec, audio?.codec].filter(Boolean).join(" · "));
  set("frames", video ? `${video.frames} (${video.keyFrames} key)` : "–");
  set("bitrate", bitrate === undefined ? "–" : `${(bitrate / 1e6).toFixed(2)} Mbit/s`);
  set("lost", packetsLost === undefined ? "–" : String(packetsLost));
}

const WORDS = {
  sent: ({ type }) => [`→ ${type}`, null],
  received: ({ type, payload }) => [`← ${type}`, type === "STAGE_STATE" ? summary(payload) : payload],
  http: ({ method, url, status, redirected }) => [
    `${method} ${status}${redirected ? " (redirected)" : ""}`,
    new URL(url).pathname,
  ],
  error: ({ code, message }) => [code, message],
  closed: ({ code, reason }) => [`closed ${code}`, reason || null],
};

function summary({ participants }) {
  const publishers = participants.filter(({ isPublishing }) => isPublishing).length;
  return `${participants.length} on the stage, ${publishers} of them publishing`;
}

/** Newest entry first. */
export function logged({ at, kind, detail }) {
  const [what, more] = WORDS[kind](detail);
  const entry = made("entry");
  entry.querySelector("time").textContent = new Date(at).toISOString().slice(11, 23);
  entry.querySelector(".what").textContent = what;
  entry.querySelector(".detail").textContent = typeof more === "string" ? more : more ? JSON.stringify(more) : "";
  byId("log").prepend(entry);
  while (byId("log").childElementCount > LOGGED) byId("log").lastElementChild.remove();
}
