/**
 * Recordings of a stage: lists them with an access key, as the API does, and plays them. The key stays in the page; playlists
 * and segments are read with URLs that give access to one recording.
 */

import { byId } from "./view.js";

const PATH = "/_greenroom/recordings";
const SERVICE = "ivs";
const ARN = /^arn:aws:ivs:([a-z0-9-]+):\d{12}:stage\/\w+$/;

let player = null; // hls.js, while it plays

/** Connects the form. `model.recordings` and `model.playback` show the state; `run` shows errors. */
export function connect(model, run) {
  Object.assign(model, { recordings: null, playback: null });
  byId("list-recordings").addEventListener("submit", (event) => {
    event.preventDefault();
    void run(() => list(model, run));
  });
  const video = byId("recording");
  const measure = () => {
    if (model.playback) Object.assign(model.playback, { time: video.currentTime, duration: video.duration });
  };
  for (const event of ["timeupdate", "durationchange", "ended"]) video.addEventListener(event, measure);
}

async function list(model, run) {
  const stage = byId("recordings-stage").value.trim();
  const region = ARN.exec(stage)?.[1];
  if (!region) throw failure("INVALID_STAGE", "Enter the ARN of a stage: arn:aws:ivs:…:stage/…");
  const key = {
    id: byId("access-key").value.trim(),
    secret: byId("secret-key").value.trim(),
    token: byId("session-token").value.trim(),
  };
  const query = `limit=100&stageArn=${encodeURIComponent(stage)}`;
  const answer = await fetch(`${PATH}?${query}`, { headers: await signed(key, region, query), cache: "no-store" });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw failure(answer.headers.get("x-amzn-errortype") ?? `HTTP ${answer.status}`, body.message ?? "");
  model.recordings = body.recordings;
  show(model, run);
}

function show(model, run) {
  const rows = model.recordings.map((recording) => {
    const row = byId("recording-row").content.firstElementChild.cloneNode(true);
    row.dataset.recording = recording.id;
    row.querySelector("strong").textContent = recording.participantId;
    row.querySelector("time").textContent = recording.startedAt ?? recording.createdAt;
    row.querySelector(".state").textContent = recording.errorCode ?? recording.state;
    row.querySelector(".length").textContent = lengthOf(recording.durationMs);
    const button = row.querySelector("button");
    button.disabled = !recording.playback;
    button.setAttribute("aria-label", `Play the recording of ${recording.participantId} from ${row.querySelector("time").textContent}`);
    button.addEventListener("click", () => run(() => play(model, recording)));
    return row;
  });
  byId("recordings").replaceChildren(...rows);
  byId("no-recordings").hidden = rows.length > 0;
}

const lengthOf = (milliseconds) => {
  const seconds = Math.round(milliseconds / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part, index) => String(part).padStart(index ? 2 : 1, "0")).join(":");
};

/** Plays a recording, from its beginning also while it goes on. */
async function play(model, recording) {
  const { default: Hls } = await import("./hls.light.min.mjs");
  const video = byId("recording");
  player?.destroy();
  player = null;
  model.playback = { id: recording.id, time: 0, duration: 0, errors: [] };
  video.hidden = false;
  const url = recording.playback.path;
  if (Hls.isSupported()) {
    // The page's policy allows no workers.
    player = new Hls({ enableWorker: false, startPosition: 0 });
    player.on(Hls.Events.ERROR, (_, { fatal, details }) => {
      model.playback.errors.push(details);
      if (fatal) byId("playback-error").textContent = `The recording cannot be played: ${details}`;
    });
    byId("playback-error").textContent = "";
    player.loadSource(url);
    player.attachMedia(video);
  } else if (video.canPlayType("application/vnd.apple.mpegurl")) {
    video.src = url;
  } else {
    throw failure("NOT_SUPPORTED", "This browser cannot play HLS");
  }
  await video.play();
}

function failure(code, message) {
  return Object.assign(new Error(message), { code });
}

const bytes = (text) => new TextEncoder().encode(text);
const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const sha256 = async (text) => hex(await crypto.subtle.digest("SHA-256", bytes(text)));

async function hmac(key, text) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return crypto.subtle.sign("HMAC", imported, bytes(text));
}

/** The headers of a GET request that is signed with Signature Version 4. */
async function signed({ id, secret, token }, region, query) {
  if (!crypto.subtle) throw failure("INSECURE", "Requests can be signed on https pages and on localhost only");
  const date = new Date().toISOString().replace(/[-:]|\.\d{3}/g, "");
  const headers = { host: location.host, "x-amz-date": date, ...(token && { "x-amz-security-token": token }) };
  const names = Object.keys(headers).sort();
  const list = names.join(";");
  const canonical = names.map((name) => `${name}:${headers[name]}\n`).join("");
  const request = ["GET", PATH, query, canonical, list, await sha256("")].join("\n");
  const scope = [date.slice(0, 8), region, SERVICE, "aws4_request"];
  let key = bytes(`AWS4${secret}`);
  for (const part of scope) key = await hmac(key, part);
  const text = ["AWS4-HMAC-SHA256", date, scope.join("/"), await sha256(request)].join("\n");
  const signature = hex(await hmac(key, text));
  delete headers.host;
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${id}/${scope.join("/")}, SignedHeaders=${list}, Signature=${signature}`;
  return headers;
}
