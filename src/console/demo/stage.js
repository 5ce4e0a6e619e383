/**
 * A participant of a stage, as any web page can be one: the events WebSocket, WHIP to publish, and the like exchange to
 * subscribe. docs/reference/participants.md describes what goes over the wire. No page in here: `tell(kind, detail)` hears of it all.
 */

import { iceServersIn } from "./ice.js";

const PING_EVERY = 10_000; // the service gives a silent client 30 s
const HTTP_TRIES = 2; // the second is for a redirection to another node
const ENDED_BY_SERVICE = ["ICE_FAILED", "DTLS_FAILED", "MEDIA_LOST", "MEDIA_FAILED"];

/** An error of the service, or of this page. */
export class Refused extends Error {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** The unverified claims of a token. */
export function claimsOf(token) {
  try {
    if (!TOKEN.test(token)) throw new SyntaxError();
    const encoded = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    if ([claims.events_url, claims.whip_url, claims.topic, claims.jti].every((text) => typeof text === "string")) {
      return claims;
    }
  } catch {
    // Reported below, like a missing claim.
  }
  throw new Refused({ code: "TOKEN_MALFORMED", message: "This is not a participant token: it cannot be decoded." });
}

/** Milliseconds since 1970, with a higher resolution than `Date`. */
export const now = () => performance.timeOrigin + performance.now();

export class Stage {
  #socket;
  #pinging;
  #exchange = null; // resolvers of the exchange under way

  /** `tell(event)` is called with "sent", "received", "http", "state", "exchanged", "connection", "closed" or "refused". */
  constructor(token, connectionToken, tell) {
    this.token = token;
    this.claims = claimsOf(token);
    this.id = this.claims.jti;
    this.connectionToken = connectionToken || null;
    this.tell = tell;
    this.joined = false;
    this.publication = null;
    this.subscriptions = new Map(); // by the id of the publisher
    this.servers = null; // of ICE, once asked for
  }

  may(capability) {
    return this.claims.capabilities?.[capability] === true;
  }

  /** Opens the events WebSocket. Resolves with the first STAGE_STATE. */
  join() {
    const protocols = [this.token, this.connectionToken].filter(Boolean);
    const socket = new WebSocket(`${this.claims.events_url}/${this.claims.topic}`, protocols);
    this.#socket = socket;
    return new Promise((joined, failed) => {
      let refusal = null;
      socket.onmessage = ({ data }) => {
        const { type, payload } = JSON.parse(data);
        this.tell("received", { type, payload });
        if (type === "STAGE_STATE") {
          this.joined = true;
          this.tell("state", payload);
          joined();
        } else if (type === "TOKEN_EXCHANGED") {
          this.#exchange?.resolve(payload);
        } else if (type === "ERROR") {
          refusal = new Refused(payload);
          if (this.#exchange && payload.code === "TOKEN_EXCHANGE_FAILED") this.#exchange.reject(refusal);
          else if (this.joined) this.tell("refused", refusal);
          if (payload.role) this.#mediaFailed(payload);
        }
      };
      socket.onopen = () => (this.#pinging = setInterval(() => this.#send({ type: "PING" }), PING_EVERY));
      // A connection that the page's Content-Security-Policy forbids fires `error`, but never `close`.
      socket.onerror = () => setTimeout(() => socket.onclose?.({ code: 1006, reason: "" }));
      socket.onclose = ({ code, reason }) => {
        socket.onclose = null;
        const text = `The events WebSocket was closed with code ${code}.`;
        const known = refusal !== null && refusal.code === reason;
        const lost = known ? refusal : new Refused({ code: reason || `CLOSED_${code}`, message: text });
        this.#closed({ code, reason, at: now() }, lost, known);
        failed(lost);
        this.#exchange?.reject(lost);
      };
    });
  }

  #send(message) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(JSON.stringify(message));
    this.tell("sent", message);
  }

  /** The service has closed a media connection, which the browser would notice later. */
  #mediaFailed({ code, role, remoteParticipantId }) {
    if (!ENDED_BY_SERVICE.includes(code)) return;
    const connection = role === "publish" ? this.publication : this.subscriptions.get(remoteParticipantId);
    connection?.end();
  }

  /** Without the events WebSocket the state of the stage is unknown: media connections are closed, too. */
  #closed(how, lost, told) {
    clearInterval(this.#pinging);
    this.publication?.end();
    this.subscriptions.forEach((subscription) => subscription.end());
    this.tell("closed", how);
    if (this.joined && how.code !== 1000 && !told) this.tell("refused", lost);
    this.joined = false;
  }

  /** Exchanges the token for another one of this participant. */
  async exchange(token) {
    const claims = claimsOf(token);
    try {
      await new Promise((resolve, reject) => {
        this.#exchange = { resolve, reject };
        this.#send({ type: "TOKEN_EXCHANGE", payload: { token } });
      });
    } finally {
      this.#exchange = null;
    }
    this.token = token;
    this.claims = claims;
    this.tell("exchanged", claims);
  }

  /** The ICE servers with credentials for this participant. Most networks work without. */
  iceServers() {
    const asked = async () => {
      const response = await this.request("OPTIONS", `${this.claims.whip_url}/publish/${this.id}`);
      return response.ok ? iceServersIn(response.headers.get("Link")) : [];
    };
    const later = () => {
      this.servers = null; // asked for again with the next connection
      return [];
    };
    this.servers ??= asked().catch(later);
    return this.servers;
  }

  /** Sends a stream. `codec` is "H264", "VP8" or nothing; `layers` are the simulcast encodings of its video. */
  async publish(stream, { codec, layers = [{}] } = {}) {
    if (this.publication) throw new Refused({ code: "ALREADY_PUBLISHING", message: "This page publishes already." });
    const connection = new Connection(this, null, () => (this.publication = null));
    this.publication = connection;
    for (const track of stream.getTracks()) {
      const sendEncodings = track.kind === "video" ? layers : undefined;
      const transceiver = connection.peer.addTransceiver(track, {
        direction: "sendonly",
        streams: [stream],
        sendEncodings,
      });
      if (track.kind === "video" && codec) transceiver.setCodecPreferences(codecsOf(codec));
    }
    await connection.open(`publish/${this.id}`);
    return connection;
  }

  /** Subscribes to a publisher. */
  async subscribe(publisher) {
    const connection = new Connection(this, publisher, () => {
      if (this.subscriptions.get(publisher) === connection) this.subscriptions.delete(publisher);
    });
    this.subscriptions.set(publisher, connection);
    connection.peer.addTransceiver("audio", { direction: "recvonly" });
    connection.peer.addTransceiver("video", { direction: "recvonly" });
    connection.peer.ontrack = ({ track }) => connection.stream.addTrack(track);
    await connection.open(`subscribe/${publisher}`);
    return connection;
  }

  async leave() {
    const connections = [...this.subscriptions.values(), this.publication].filter(Boolean);
    await Promise.all(connections.map((connection) => connection.close()));
    this.#socket.close(1000);
  }

  /** A request with the token. `fetch` follows a redirect to another node, but drops the token. */
  async request(method, url, body) {
    const headers = { Authorization: `Bearer ${this.token}` };
    if (body) headers["Content-Type"] = "application/sdp";
    if (this.connectionToken) headers["Greenroom-Connection-Token"] = this.connectionToken;
    let response;
    for (let tries = 0; tries < HTTP_TRIES; tries += 1) {
      const options = { method, headers, body, keepalive: method === "DELETE", referrerPolicy: "no-referrer" };
      response = await fetch(url, options).catch((error) => {
        const message = `${new URL(url).origin} did not answer ${method}: ${error.message}.`;
        throw new Refused({ code: "NOT_REACHED", message });
      });
      this.tell("http", { method, url, status: response.status, redirected: response.redirected });
      const weaker = new URL(url).protocol === "https:" && !response.url.startsWith("https:");
      if (response.status !== 401 || !response.redirected || weaker) break;
      url = response.url;
    }
    return response;
  }
}

/** The capabilities of one codec and its retransmissions: with several, the service would choose. */
function codecsOf(name) {
  const wanted = [`video/${name}`, "video/rtx"].map((type) => type.toLowerCase());
  return RTCRtpSender.getCapabilities("video").codecs.filter(({ mimeType }) => wanted.includes(mimeType.toLowerCase()));
}

/** A peer connection and its resource: a publication or a subscription. */
class Connection {
  #gone;
  #resource = null;

  constructor(stage, publisher, gone) {
    this.stage = stage;
    this.publisher = publisher;
    this.stream = new MediaStream();
    this.peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.state = "connecting";
    this.startedAt = now();
    this.server = null; // the address for media that the answer names first
    this.endedAt = null;
    this.#gone = gone;
  }

  /** Sends the offer and applies the answer, which has all candidates of the server. The server needs none of ours. */
  async open(path) {
    try {
      const iceServers = await this.stage.iceServers();
      if (this.state === "ended") return;
      this.peer.setConfiguration({ ...this.peer.getConfiguration(), iceServers });
      await this.peer.setLocalDescription();
      const url = `${this.stage.claims.whip_url}/${path}`;
      const response = await this.stage.request("POST", url, this.peer.localDescription.sdp);
      if (response.status !== 201) throw await refusalIn(response);
      this.#resource = new URL(response.headers.get("Location"), response.url).href;
      if (this.state === "ended") return void (await this.#delete()); // closed while the answer was on its way
      const sdp = await response.text();
      this.server = addressIn(sdp);
      await this.peer.setRemoteDescription({ type: "answer", sdp });
      this.#watch();
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** A close by the server shows at once in the DTLS transport, and seconds later in the connection's state. */
  #watch() {
    const { transport } = this.peer.getTransceivers()[0].receiver;
    const changed = () => {
      if (transport.state === "connected") this.#become("connected");
      if (transport.state === "closed" || transport.state === "failed") this.end();
    };
    transport.onstatechange = changed;
    this.peer.onconnectionstatechange = () => this.peer.connectionState === "failed" && this.#failed();
    changed();
  }

  /** The browser has given up. If it never connected, a hint says what to check. */
  #failed() {
    if (this.state === "connecting") {
      const message =
        `No media connection to ${this.server ?? "the service"} over UDP or TCP. Check firewalls, and that this computer can ` +
        "reach that address; the operator sets it with --media-addr and --media-public-ip.";
      this.stage.tell("refused", new Refused({ code: "MEDIA_NOT_CONNECTED", message }));
    }
    this.end();
  }

  #become(state) {
    if (this.state === state || this.state === "ended") return false;
    this.state = state;
    this.stage.tell("connection", this);
    return true;
  }

  /** Closed; the service knows, or is notified by `close`. */
  end() {
    this.endedAt ??= now();
    this.#gone();
    if (this.#become("ended")) this.peer.close();
  }

  async close() {
    this.end();
    await this.#delete();
  }

  async #delete() {
    const resource = this.#resource;
    this.#resource = null;
    if (resource) await this.stage.request("DELETE", resource).catch(() => {}); // it ends by itself when we are silent
  }
}

/** The address and port of the first candidate of an answer. */
function addressIn(sdp) {
  const [, address, port] = /^a=candidate:\S+ \d+ udp \d+ (\S+) (\d+) /im.exec(sdp) ?? [];
  return address ? `${address.includes(":") ? `[${address}]` : address}:${port}` : null;
}

async function refusalIn(response) {
  const text = await response.text();
  try {
    const { code, message } = JSON.parse(text);
    return new Refused({ code, message });
  } catch {
    return new Refused({ code: `HTTP_${response.status}`, message: text || response.statusText });
  }
}
