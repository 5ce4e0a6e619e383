/** WebRTC stacks of npm publish and subscribe: libdatachannel (node-datachannel) and werift. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import * as sdk from "@aws-sdk/client-ivs-realtime";
import libdatachannel from "node-datachannel";
import * as werift from "werift";
import { claims, REGION } from "./greenroom.mjs";

const OPUS = { kind: "audio", payloadType: 111, ssrc: 1111 };
const H264 = { kind: "video", payloadType: 102, ssrc: 2222 };
const H264_PROFILE = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
/** 20 ms of silence. */
const OPUS_FRAME = Buffer.from([0xf8, 0xff, 0xfe]);
const MAX_PAYLOAD = 1100;

/** The NAL units of the first picture, a key frame, of an H.264 clip. */
function keyFrame() {
  const clip = readFileSync(new URL("../../crates/greenroom-client/src/clip/pattern.h264", import.meta.url));
  const starts = [...clip.toString("latin1").matchAll(/\0\0\x01/g)].map(({ index }) => index + 3);
  const units = starts.map((start, at) => clip.subarray(start, at + 1 < starts.length ? starts[at + 1] - 3 : undefined));
  const isSlice = (unit) => [1, 5].includes(unit[0] & 31);
  const next = units.findIndex((unit, at) => isSlice(unit) && !isSlice(units[at + 1]));
  return units.slice(0, next + 1).filter((unit) => [5, 7, 8].includes(unit[0] & 31));
}

/** RTP payloads of NAL units, fragmented where they are long (RFC 6184, section 5.8). */
function payloads(units) {
  return units.flatMap((unit) => {
    if (unit.length <= MAX_PAYLOAD) return [unit];
    const parts = [];
    for (let at = 1; at < unit.length; at += MAX_PAYLOAD) {
      const part = unit.subarray(at, at + MAX_PAYLOAD);
      const flags = (at === 1 ? 0x80 : 0) | (at + MAX_PAYLOAD >= unit.length ? 0x40 : 0);
      parts.push(Buffer.concat([Buffer.from([(unit[0] & 0xe0) | 28, flags | (unit[0] & 31)]), part]));
    }
    return parts;
  });
}

const FRAMES = { audio: [OPUS_FRAME], video: payloads(keyFrame()) };
const INTERVALS = { audio: 20, video: 100 };
const CLOCK_RATES = { audio: 48_000, video: 90_000 };

/** Sends frames as RTP packets until it is stopped. */
class Sender {
  #timers;

  constructor(write) {
    this.#timers = [OPUS, H264].map(({ kind, payloadType, ssrc }) => {
      let [sequence, timestamp] = [0, 0];
      return setInterval(() => {
        FRAMES[kind].forEach((payload, at, all) => {
          const header = Buffer.alloc(12);
          const marker = kind === "video" && at === all.length - 1 ? 0x80 : 0;
          header.writeUInt16BE(0x8000 | marker | payloadType, 0);
          header.writeUInt16BE(sequence++ & 0xffff, 2);
          header.writeUInt32BE(timestamp, 4);
          header.writeUInt32BE(ssrc, 8);
          write(kind, Buffer.concat([header, payload]));
        });
        timestamp += (CLOCK_RATES[kind] * INTERVALS[kind]) / 1000;
      }, INTERVALS[kind]);
    });
  }

  stop() {
    this.#timers.forEach(clearInterval);
  }
}

/** Received packets of both kinds. */
class Received {
  #counts = { audio: 0, video: 0 };
  #done = deferred();

  packet(kind) {
    this.#counts[kind] += 1;
    if (this.#counts.audio >= 10 && this.#counts.video >= FRAMES.video.length) this.#done.resolve();
  }

  get complete() {
    return this.#done.promise;
  }
}

function deferred() {
  const made = {};
  made.promise = new Promise((resolve) => (made.resolve = resolve));
  return made;
}

async function exchange(url, token, offer) {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/sdp" };
  const response = await fetch(url, { method: "POST", headers, body: offer });
  const answer = await response.text();
  assert.equal(response.status, 201, answer);
  return answer;
}

const STACKS = {
  async libdatachannel(direction, url, token) {
    const peer = new libdatachannel.PeerConnection("client", { iceServers: [], disableAutoNegotiation: true });
    const way = direction === "sendonly" ? "SendOnly" : "RecvOnly";
    const [audio, video] = [new libdatachannel.Audio("audio", way), new libdatachannel.Video("video", way)];
    audio.addOpusCodec(OPUS.payloadType);
    video.addH264Codec(H264.payloadType, H264_PROFILE);
    if (way === "SendOnly") {
      audio.addSSRC(OPUS.ssrc, "client", "stream", "audio");
      video.addSSRC(H264.ssrc, "client", "stream", "video");
    }
    const tracks = { audio: peer.addTrack(audio), video: peer.addTrack(video) };
    const received = new Received();
    for (const [kind, track] of Object.entries(tracks)) track.onMessage((packet) => isRtp(packet) && received.packet(kind));
    const gathered = new Promise((done) => peer.onGatheringStateChange((state) => state === "complete" && done()));
    const connected = new Promise((done) => peer.onStateChange((state) => state === "connected" && done()));
    peer.setLocalDescription("offer");
    await gathered;
    peer.setRemoteDescription(await exchange(url, token, peer.localDescription().sdp), "answer");
    await connected;
    return { received, send: (kind, packet) => tracks[kind].isOpen() && tracks[kind].sendMessageBinary(packet), close: () => peer.close() };
  },

  async werift(direction, url, token) {
    const audio = new werift.RTCRtpCodecParameters({ mimeType: "audio/opus", clockRate: 48_000, channels: 2, payloadType: OPUS.payloadType });
    const feedback = [{ type: "nack" }, { type: "nack", parameter: "pli" }];
    const video = new werift.RTCRtpCodecParameters({
      mimeType: "video/H264", clockRate: 90_000, payloadType: H264.payloadType, parameters: H264_PROFILE, rtcpFeedback: feedback,
    });
    const peer = new werift.RTCPeerConnection({ codecs: { audio: [audio], video: [video] }, iceServers: [], bundlePolicy: "max-bundle" });
    const tracks = {};
    const received = new Received();
    for (const { kind } of [OPUS, H264]) {
      tracks[kind] = new werift.MediaStreamTrack({ kind });
      const transceiver = peer.addTransceiver(direction === "sendonly" ? tracks[kind] : kind, { direction });
      transceiver.onTrack.subscribe((track) => track.onReceiveRtp.subscribe(() => received.packet(kind)));
    }
    await peer.setLocalDescription(await peer.createOffer());
    const connected = new Promise((done) => peer.connectionStateChange.subscribe((state) => state === "connected" && done()));
    const answer = await exchange(url, token, peer.localDescription.sdp);
    await Promise.all([peer.setRemoteDescription({ type: "answer", sdp: answer }), connected]);
    return { received, send: (kind, packet) => tracks[kind].writeRtp(packet), close: () => peer.close() };
  },
};

/** Whether a packet is RTP and not RTCP (RFC 5761). */
const isRtp = (packet) => (packet[1] & 0x7f) < 64 || (packet[1] & 0x7f) > 95;

describe("WebRTC stacks", () => {
  let server;
  let client;

  before(async () => {
    const flags = ["--listen", "127.0.0.1:0", "--media-addr", "127.0.0.1:0", "--database-url", "sqlite::memory:"];
    server = spawn(process.env.GREENROOM_BIN, flags, { stdio: ["ignore", "pipe", "ignore"] });
    for await (const line of createInterface({ input: server.stdout })) {
      const endpoint = line.match(/^ +endpoint +(\S+)/)?.[1];
      if (!endpoint) continue;
      const credentials = { accessKeyId: "test", secretAccessKey: "test" };
      client = new sdk.IVSRealTimeClient({ endpoint, region: REGION, credentials });
      break;
    }
  });

  after(async () => {
    libdatachannel.cleanup();
    const exit = once(server, "exit");
    server.kill("SIGTERM");
    assert.deepEqual(await exit, [0, null]);
  });

  for (const [publishes, subscribes] of [["libdatachannel", "werift"], ["werift", "libdatachannel"]]) {
    test(`${publishes} publishes, ${subscribes} subscribes`, { timeout: 20_000 }, async () => {
      const created = await client.send(new sdk.CreateStageCommand({ participantTokenConfigurations: [{}, {}] }));
      const [sender, receiver] = created.participantTokens;
      const whip = claims(sender.token).whip_url;
      const publisher = await STACKS[publishes]("sendonly", whip, sender.token);
      const media = new Sender(publisher.send);
      const viewer = await STACKS[subscribes]("recvonly", `${whip}/subscribe/${sender.participantId}`, receiver.token);
      await viewer.received.complete;
      media.stop();
      await viewer.close();
      await publisher.close();
    });
  }
});
