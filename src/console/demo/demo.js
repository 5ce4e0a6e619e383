/** The demo page: joins a stage and shows it. Its state is in `window.greenroom`, which tests read. */

import { hintFor } from "./hints.js";
import * as media from "./media.js";
import * as recordings from "./recordings.js";
import { Stage, now } from "./stage.js";
import * as view from "./view.js";

const MEASURE_EVERY = 500; // shorter than the window of media.levelOf
const AGAIN_AFTER = [500, 1000, 2000, 4000]; // delays before a subscription is retried while its publisher is there
const FINAL = ["INSUFFICIENT_CAPABILITIES", "QUOTA_EXCEEDED", "CODEC_MISMATCH"]; // errors that are not retried

/** The state of the page, as plain values. Times are in milliseconds since 1970. */
const model = (window.greenroom = fresh());

function fresh() {
  return {
    phase: "idle", // then joining, joined, left
    error: null, // the last one: code, message, hint
    notice: null, // a deviation from the user's request
    stageId: null,
    participantId: null,
    capabilities: [],
    participants: [],
    publication: null, // statistics of the own media: see `measured`
    subscriptions: {}, // the same, by the id of the publisher
    ended: [], // closed media connections: publisher (null is oneself), at
    closed: null, // how the events WebSocket was closed: code, reason, at
    log: [],
  };
}

let stage = null;
let sending = null; // the published stream, and how to release it
let tries = {}; // failed subscriptions by publisher
let refused = new Set(); // publishers without automatic subscription: unsubscribed by hand, or rejected for good

const { byId } = view;

async function join(token, connectionToken) {
  Object.assign(model, fresh(), { phase: "joining" });
  [tries, refused] = [{}, new Set()];
  render();
  try {
    stage = null;
    stage = new Stage(token, connectionToken, heard);
    await stage.join();
    knowClaims(stage.claims);
    model.phase = "joined";
  } catch (error) {
    model.phase = "left";
    throw error;
  } finally {
    render();
  }
  reconcile();
}

function knowClaims(claims) {
  const { allow_publish: publish, allow_subscribe: subscribe } = claims.capabilities ?? {};
  model.capabilities = [publish === true && "PUBLISH", subscribe === true && "SUBSCRIBE"].filter(Boolean);
  model.participantId = claims.jti;
}

const HEARD = {
  state({ stageId, participants }) {
    Object.assign(model, { stageId, participants });
    for (const { id, isPublishing } of participants) {
      if (isPublishing) continue;
      delete tries[id];
      void stage.subscriptions.get(id)?.close();
    }
    reconcile();
  },
  refused: show,
  exchanged: knowClaims,
  connection(connection) {
    if (connection.state !== "ended") return;
    model.ended.push({ publisher: connection.publisher, at: connection.endedAt });
    connection.level?.stop();
    if (connection.publisher) reconcile();
    else letGo();
  },
  closed(how) {
    model.closed = how;
    Object.assign(model, { phase: "left", participants: [], publication: null, subscriptions: {} });
  },
};

const NOTED = ["sent", "received", "http", "closed"];
const QUIET = ["PING", "PONG"];

/** Logs an event of the stage and updates the model. */
function heard(kind, detail) {
  if (NOTED.includes(kind) && !QUIET.includes(detail.type)) note(kind, detail);
  HEARD[kind]?.(detail);
  render();
}

function note(kind, detail) {
  const hidden = kind === "sent" && detail.type === "TOKEN_EXCHANGE" ? { type: detail.type } : detail; // no token on the screen
  const entry = { at: now(), kind, detail: hidden };
  model.log.push(entry);
  view.logged(entry);
}

/** Subscribes to all publishers that should be received. */
function reconcile() {
  if (!stage || model.phase !== "joined" || !byId("subscribe-all").checked || !stage.may("allow_subscribe")) return;
  for (const { id, isPublishing } of model.participants) {
    if (isPublishing && id !== stage.id && !stage.subscriptions.has(id) && !refused.has(id)) subscribeSoon(id);
  }
}

/** At once the first time; retries are delayed, as the publisher may be leaving. */
function subscribeSoon(id) {
  const wait = tries[id] === undefined ? 0 : AGAIN_AFTER[Math.min(tries[id], AGAIN_AFTER.length - 1)];
  tries[id] = (tries[id] ?? -1) + 1;
  refused.add(id);
  setTimeout(async () => {
    refused.delete(id);
    const there = model.participants.some((one) => one.id === id && one.isPublishing);
    if (!there || model.phase !== "joined" || stage.subscriptions.has(id)) return;
    try {
      await stage.subscribe(id);
    } catch (error) {
      if (FINAL.includes(error.code)) refused.add(id);
      show(error);
    }
    render();
  }, wait);
}

async function publish() {
  sending = await media.open(byId("source").value, stage.claims.user_id || stage.id);
  model.notice = sending.missing ? `${sending.missing} The test pattern is published instead.` : null;
  if (sending.missing) byId("source").value = "pattern";
  mute();
  const thirds = [4, 2, 1].map((scale) => ({ rid: `q${4 / scale}`, scaleResolutionDownBy: scale }));
  try {
    const layers = byId("layers").checked ? thirds : undefined;
    const connection = await stage.publish(sending.stream, { codec: byId("codec").value, layers });
    connection.stream = sending.stream;
  } catch (error) {
    letGo();
    throw error;
  }
  render();
}

function letGo() {
  sending?.stop();
  sending = null;
}

function mute() {
  sending?.stream.getAudioTracks().forEach((track) => (track.enabled = byId("sound").checked));
  sending?.stream.getVideoTracks().forEach((track) => (track.enabled = byId("picture").checked));
}

async function toggle(publisher) {
  const subscription = stage.subscriptions.get(publisher);
  refused.delete(publisher);
  if (subscription) {
    refused.add(publisher);
    await subscription.close();
  } else {
    await stage.subscribe(publisher);
  }
  render();
}

/** A measurement of a connection: totals, rates and audio level. */
async function measured(connection) {
  const before = connection.measured;
  const counts = await media.measure(connection.peer);
  const at = now();
  if (connection.state === "connected" && connection.stream.getAudioTracks().length > 0) {
    connection.level ??= media.levelOf(connection.stream);
  }
  const level = connection.level?.read() ?? 0;
  const bitrate = before ? Math.max(0, (8000 * (counts.bytes - before.bytes)) / (at - before.at)) : 0;
  const loudest = Math.max(level, before?.loudest ?? 0);
  connection.measured = { at, state: connection.state, bitrate, level, loudest, ...counts };
  return connection.measured;
}

async function measureAll() {
  if (!stage) return;
  const subscriptions = [...stage.subscriptions].map(async ([id, connection]) => [id, await measured(connection)]);
  model.subscriptions = Object.fromEntries(await Promise.all(subscriptions));
  model.publication = stage.publication && (await measured(stage.publication));
  render();
}

function show(error) {
  const code = typeof error.code === "string" ? error.code : error.name; // those of DOMException are numbers
  model.error = { code, message: error.message, hint: hintFor(code, stage?.claims) };
  note("error", model.error);
  render();
}

const render = () => view.keepingFocus(() => view.render(model, stage, toggled));
const toggled = (publisher) => run(() => toggle(publisher));

/** Runs the action of a button, and shows its errors. */
async function run(action) {
  model.error = null;
  try {
    await action();
  } catch (error) {
    show(error);
  }
  render();
}

function onSubmit(id, action) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    void run(action);
  });
}

const onClick = (id, action) => byId(id).addEventListener("click", () => run(action));
/** Copied tokens often have JSON quotes or line breaks. */
const tokenOf = (id) => byId(id).value.replace(/\s+/g, "").replace(/^["']|["',]+$/g, "");

onSubmit("join", () => join(tokenOf("token"), tokenOf("connection-token")));
onSubmit("exchange", async () => {
  await stage.exchange(tokenOf("new-token"));
  byId("exchange").reset();
});
onClick("leave", () => stage.leave());
onClick("publish", publish);
onClick("unpublish", () => stage.publication?.close());
onClick("dismiss", () => {});
byId("sound").addEventListener("change", mute);
byId("picture").addEventListener("change", mute);
byId("subscribe-all").addEventListener("change", reconcile);
addEventListener("pagehide", () => model.phase === "joined" && void stage.leave());
setInterval(() => void measureAll().catch(() => {}), MEASURE_EVERY); // a connection may close while it is measured

recordings.connect(model, run);

const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.has("token")) {
  byId("token").value = fragment.get("token");
  history.replaceState(null, "", location.pathname); // the token does not stay in the address
}
render();
