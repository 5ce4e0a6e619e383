// A publisher or a viewer whose offers and answers are carried by the test, which can lead the connection through a proxy.

window.peer = null;
// Configuration of the connection: ICE servers and transport policy.
window.configuration = {};
// Frames that the video element has shown: [time in ms, width].
window.shown = [];
// Times of the flashes in the picture and of the louder tones in the sound, in ms.
window.flashes = [];
window.beeps = [];
// Bits of the clock in the picture, if it has one, and by how much the frames were later than their clock, in ms.
window.clockBits = 0;
window.delays = [];
// Changes of the states of the connection and its DTLS transport: [time in ms, state].
window.states = [];
// Whether the two channels of the sound differ.
window.stereo = false;
window.began = 0;

// The offer with all candidates.
async function complete(description) {
  await peer.setLocalDescription(description);
  while (peer.iceGatheringState !== "complete") {
    await new Promise((done) => peer.addEventListener("icegatheringstatechange", done, { once: true }));
  }
  return peer.localDescription.sdp;
}

function open(options) {
  began = performance.now();
  peer = new RTCPeerConnection({ bundlePolicy: "max-bundle", ...configuration, ...options });
  const note = () => states.push([performance.now(), peer.connectionState]);
  peer.addEventListener("connectionstatechange", note);
}

// Passes the encoded frames of a sender, late if there is a delay.
function pass(sender, delayMs) {
  const { readable, writable } = sender.createEncodedStreams();
  const transform = (frame, controller) => {
    if (delayMs) setTimeout(() => controller.enqueue(frame), delayMs);
    else controller.enqueue(frame);
  };
  readable.pipeThrough(new TransformStream({ transform })).pipeTo(writable);
}

function prefer(transceiver, codec) {
  const known = RTCRtpSender.getCapabilities("video").codecs;
  const wanted = known.filter(({ mimeType }) => [`video/${codec}`, "video/rtx"].includes(mimeType));
  transceiver.setCodecPreferences(wanted);
}

// Options: picture (width, height, fps) with codec and encodings; sound (channels, silent); fmtp, format parameters of Opus in the
// offer; lateVideoMs, which delays encoded frames.
window.publish = async ({ picture, codec, encodings, sound, fmtp, lateVideoMs }) => {
  open({ encodedInsertableStreams: lateVideoMs > 0 });
  const worker = new Worker("/media_source.js");
  const message = { picture, sound };
  const tracks = {};
  for (const kind of ["audio", "video"]) {
    if (!message[kind === "video" ? "picture" : "sound"]) continue;
    tracks[kind] = new MediaStreamTrackGenerator({ kind });
    message[kind] = tracks[kind].writable;
  }
  worker.postMessage(message, [message.video, message.audio].filter(Boolean));
  window.tracks = tracks;
  const streams = [new MediaStream(Object.values(tracks))];
  for (const [kind, track] of Object.entries(tracks)) {
    const sendEncodings = kind === "video" ? encodings : [{ maxBitrate: 64000 }];
    const transceiver = peer.addTransceiver(track, { direction: "sendonly", streams, sendEncodings });
    if (lateVideoMs) pass(transceiver.sender, kind === "video" ? lateVideoMs : 0);
    if (kind === "video") prefer(transceiver, codec);
  }
  return complete(withOpus(await peer.createOffer(), fmtp));
};

// Adds format parameters of Opus.
function withOpus({ type, sdp }, fmtp) {
  return { type, sdp: fmtp ? sdp.replace("useinbandfec=1", `useinbandfec=1;${fmtp}`) : sdp };
}

window.view = async (fmtp) => {
  open();
  receive();
  for (const kind of ["audio", "video"]) peer.addTransceiver(kind, { direction: "recvonly" });
  return complete(withRoundTrip(withOpus(await peer.createOffer(), fmtp)));
};

// Views without the test's help; returns the resource. The connection before is closed.
window.join = async (url, token) => {
  peer?.close();
  for (const list of [shown, flashes, beeps, delays, states]) list.length = 0;
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/sdp" };
  const answer = await fetch(url, { method: "POST", headers, body: await view() });
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  await accept(await answer.text());
  return new URL(answer.headers.get("Location"), answer.url).href;
};

window.connectedAt = () => states.find(([, state]) => state === "connected")?.[0];

// Asks for receiver reference time reports (RFC 3611, section 4.4), by which a receiver learns the round-trip time.
function withRoundTrip({ type, sdp }) {
  return { type, sdp: sdp.replace(/a=rtcp-fb:(\d+) transport-cc\r\n/g, "$&a=rtcp-fb:$1 rrtr\r\n") };
}

// Answers the offer of another page.
window.answer = async (sdp) => {
  open();
  receive();
  await peer.setRemoteDescription({ type: "offer", sdp });
  return complete(await peer.createAnswer());
};

window.accept = async (sdp) => {
  await peer.setRemoteDescription({ type: "answer", sdp });
  const [{ sender }] = peer.getTransceivers();
  const { transport } = sender;
  transport.addEventListener("statechange", () => states.push([performance.now(), `dtls ${transport.state}`]));
};

// Requests key frames of the video all the time.
window.flood = () => {
  const source = `onrtctransform = ({ transformer }) => {
    transformer.readable.pipeTo(transformer.writable);
    setInterval(() => transformer.sendKeyFrameRequest().catch(() => {}), 50);
  };`;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const { receiver } = peer.getTransceivers().find((one) => one.receiver.track.kind === "video");
  receiver.transform = new RTCRtpScriptTransform(worker);
};

window.setActive = async (rid, active) => {
  const sender = peer.getSenders().find(({ track }) => track.kind === "video");
  const parameters = sender.getParameters();
  parameters.encodings.find((encoding) => encoding.rid === rid).active = active;
  await sender.setParameters(parameters);
  return performance.now();
};

function receive() {
  const video = document.querySelector("video");
  const stream = new MediaStream();
  video.srcObject = stream;
  peer.addEventListener("track", ({ track }) => stream.addTrack(track));
  const canvas = new OffscreenCanvas(1, 1);
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  let bright = true;
  const look = (now, frame) => {
    if (video.srcObject !== stream) return;
    shown.push([performance.now(), frame.width]);
    if (clockBits) readClock(video, Math.max(performance.now(), frame.expectedDisplayTime));
    // The middle of the square that flashes.
    paint.drawImage(video, frame.height / 8, frame.height / 8, 1, 1, 0, 0, 1, 1);
    const is = paint.getImageData(0, 0, 1, 1).data[0] > 128;
    if (is && !bright) flashes.push(frame.expectedDisplayTime);
    bright = is;
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}

const SIDE = 16;
const clock = new OffscreenCanvas(32, 1).getContext("2d", { willReadFrequently: true });

// The clock in the picture counts milliseconds; its bits are squares at the top left, the least significant one first.
function readClock(video, at) {
  clock.drawImage(video, 0, 0, clockBits * SIDE, SIDE, 0, 0, clockBits, 1);
  const { data } = clock.getImageData(0, 0, clockBits, 1);
  let ms = 0;
  for (let bit = 0; bit < clockBits; bit += 1) ms += data[4 * bit] > 128 ? 2 ** bit : 0;
  const range = 2 ** clockBits;
  delays.push((((performance.timeOrigin + at - ms) % range) + range) % range);
}

const LISTENER = `registerProcessor("listener", class extends AudioWorkletProcessor {
  loudUntil = 1;
  process([[samples, other]]) {
    if (other?.some((sample, at) => Math.abs(sample - samples[at]) > 0.02)) this.port.postMessage("stereo");
    const at = samples?.findIndex((sample) => Math.abs(sample) > 0.3) ?? -1;
    if (at < 0) return true;
    const time = currentTime + at / sampleRate;
    if (time > this.loudUntil) this.port.postMessage(time);
    this.loudUntil = time + 0.3;
    return true;
  }
});`;

// Notes when louder tones are played.
window.listen = async () => {
  const audio = new AudioContext({ latencyHint: "interactive" });
  await audio.audioWorklet.addModule(URL.createObjectURL(new Blob([LISTENER], { type: "text/javascript" })));
  const { track } = peer.getReceivers().find((receiver) => receiver.track.kind === "audio");
  const listener = new AudioWorkletNode(audio, "listener");
  new MediaStreamAudioSourceNode(audio, { mediaStream: new MediaStream([track]) }).connect(listener);
  const mute = new GainNode(audio, { gain: 0 });
  listener.connect(mute).connect(audio.destination);
  listener.port.onmessage = ({ data }) => {
    if (data === "stereo") return void (stereo = true);
    const { contextTime, performanceTime } = audio.getOutputTimestamp();
    beeps.push(performanceTime + 1000 * (data - contextTime));
  };
};

const INBOUND = [
  "ssrc", "rtxSsrc", "framesDecoded", "framesReceived", "framesDropped", "freezeCount", "totalFreezesDuration", "keyFramesDecoded", "nackCount",
  "pliCount", "packetsReceived", "packetsLost", "bytesReceived", "retransmittedPacketsReceived", "frameWidth", "frameHeight",
  "jitterBufferDelay", "jitterBufferEmittedCount", "concealedSamples", "silentConcealedSamples", "totalSamplesReceived",
  "fecPacketsReceived", "estimatedPlayoutTimestamp", "totalInterFrameDelay",
];
const OUTBOUND = [
  "rid", "ssrc", "framesEncoded", "keyFramesEncoded", "pliCount", "nackCount", "packetsSent", "retransmittedPacketsSent", "bytesSent",
  "qpSum", "frameWidth", "qualityLimitationReason", "active",
];

// The present statistics.
window.stats = async () => {
  const reports = [...(await peer.getStats()).values()];
  const pick = (names) => (report) => Object.fromEntries(names.filter((name) => name in report).map((name) => [name, report[name]]));
  const found = (type, kind) => reports.filter((report) => report.type === type && report.kind === kind);
  const pair = reports.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
  return {
    at: performance.now(),
    lastShown: shown.at(-1) ?? null,
    video: found("inbound-rtp", "video").map(pick(INBOUND))[0] ?? {},
    audio: found("inbound-rtp", "audio").map(pick(INBOUND))[0] ?? {},
    sent: found("outbound-rtp", "video").map(pick(OUTBOUND)),
    roundTrip: pair?.currentRoundTripTime ?? null,
    available: pair?.availableOutgoingBitrate ?? null,
  };
};
