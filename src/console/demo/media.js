/** Media sources and measurements. */

import { now } from "./stage.js";

const BARS = ["#c9d1c8", "#c8b62f", "#2fb5b0", "#37a84a", "#b04bb0", "#c0433a", "#3c55c4"];
const SIZE = { width: 1280, height: 720 };
const FRAMES_A_SECOND = 30;

let audio = null;

/** One AudioContext for the page, created after a click: browsers suspend it before. */
function audioContext() {
  audio ??= new AudioContext();
  void audio.resume();
  return audio;
}

/**
 * `source` is "camera", "microphone" or "pattern". Answers the stream, how to let go of what it comes from, and, where
 * the test pattern stands in for a device, why.
 */
export async function open(source, label) {
  if (source === "pattern") return pattern(label);
  try {
    return await devices(source);
  } catch (error) {
    return { ...pattern(label), missing: reasonOf(error) };
  }
}

const REASONS = {
  NotFoundError: "This computer has no camera or no microphone that the browser can use.",
  NotAllowedError: "The browser was not allowed to use the camera and the microphone.",
  NotReadableError: "Another program uses the camera or the microphone.",
};

const reasonOf = ({ name, message }) => REASONS[name] ?? message;

async function devices(source) {
  if (!navigator.mediaDevices) {
    throw new Error("This browser lends cameras to pages on https:// or localhost only.");
  }
  const picture = {
    width: { ideal: SIZE.width },
    height: { ideal: SIZE.height },
    frameRate: { ideal: FRAMES_A_SECOND },
  };
  const stream = await navigator.mediaDevices.getUserMedia({ video: source === "camera" && picture, audio: true });
  return { stream, stop: () => stream.getTracks().forEach((track) => track.stop()) };
}

/** A moving picture with the sender's name, and a tone that pulses twice per second. */
function pattern(label) {
  const canvas = Object.assign(document.createElement("canvas"), SIZE);
  const paint = canvas.getContext("2d");
  const timer = setInterval(() => draw(paint, label), 1000 / FRAMES_A_SECOND);
  draw(paint, label);
  const tone = swellingTone(audioContext());
  const stream = canvas.captureStream(FRAMES_A_SECOND);
  stream.addTrack(tone.track);
  const stop = () => {
    clearInterval(timer);
    tone.stop();
    stream.getTracks().forEach((track) => track.stop());
  };
  return { stream, stop };
}

function draw(paint, label) {
  const { width, height } = SIZE;
  const seconds = now() / 1000;
  BARS.forEach((colour, index) => {
    paint.fillStyle = colour;
    paint.fillRect(Math.floor((index * width) / BARS.length), 0, Math.ceil(width / BARS.length), height);
  });
  paint.fillStyle = "#0d1812";
  paint.fillRect(0, height * 0.68, width, height * 0.32);
  paint.fillStyle = "#7ee2a8";
  paint.fillRect(((seconds / 4) % 1) * (width + 160) - 160, height * 0.66, 160, height * 0.02);
  paint.fillStyle = "#f2f7f3";
  paint.textBaseline = "middle";
  paint.font = "600 72px system-ui, sans-serif";
  paint.fillText(label, 48, height * 0.79, width - 96);
  paint.font = "44px ui-monospace, monospace";
  paint.fillText(new Date().toISOString().slice(11, 23), 48, height * 0.91);
}

function swellingTone(context) {
  const tone = new OscillatorNode(context, { frequency: 330 });
  const loudness = new GainNode(context, { gain: 0.12 });
  const swell = new OscillatorNode(context, { frequency: 2 });
  const depth = new GainNode(context, { gain: 0.1 });
  const out = new MediaStreamAudioDestinationNode(context);
  tone.connect(loudness).connect(out);
  swell.connect(depth).connect(loudness.gain);
  tone.start();
  swell.start();
  const stop = () => {
    tone.stop();
    swell.stop();
  };
  return { track: out.stream.getAudioTracks()[0], stop };
}

/** The audio level of a stream, from 0 to 1: the maximum since the last call, and of a window before. */
export function levelOf(stream) {
  const context = audioContext();
  const analyser = new AnalyserNode(context, { fftSize: 32_768 });
  const source = context.createMediaStreamSource(stream);
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const read = () => {
    analyser.getFloatTimeDomainData(samples);
    return samples.reduce((highest, sample) => Math.max(highest, Math.abs(sample)), 0);
  };
  return { read, stop: () => source.disconnect() };
}

/** Totals of a connection, in one form for both directions. */
export async function measure(peer) {
  const reports = [...(await peer.getStats()).values()];
  const streams = (kind) => reports.filter(({ type, kind: of }) => /^(in|out)bound-rtp$/.test(type) && of === kind);
  const total = (list, ...names) =>
    list.reduce((sum, one) => sum + names.reduce((s, name) => s + (one[name] ?? 0), 0), 0);
  const most = (list, name) => Math.max(0, ...list.map((one) => one[name] ?? 0));
  const [video, sound] = [streams("video"), streams("audio")];
  const codec = (list) => reports.find(({ id }) => id === list[0]?.codecId)?.mimeType?.split("/")[1] ?? null;
  const bytes = total([...video, ...sound], "bytesSent", "bytesReceived");
  return {
    bytes,
    packetsLost: total([...video, ...sound], "packetsLost"),
    video: {
      codec: codec(video),
      frames: total(video, "framesEncoded", "framesDecoded"),
      keyFrames: total(video, "keyFramesEncoded", "keyFramesDecoded"),
      keyFrameRequests: total(video, "pliCount", "firCount"),
      framesPerSecond: most(video, "framesPerSecond"),
      width: most(video, "frameWidth"),
      height: most(video, "frameHeight"),
      layers: video.filter(({ framesEncoded }) => framesEncoded > 0).length,
    },
    audio: {
      codec: codec(sound),
      packets: total(sound, "packetsSent", "packetsReceived"),
      energy: total(sound, "totalAudioEnergy"),
    },
  };
}
