/** A page that shows who is in a room. Its token comes in the fragment of the URL, which is not sent to the server. */

const token = decodeURIComponent(location.hash.slice(1));
const show = (text) => (document.querySelector("#status").textContent = text);
const leave = document.querySelector("#leave");
const REASONS = {
  4401: "Your invitation is no longer valid.",
  4403: "You have been removed from the room.",
  4404: "The room has been closed.",
};

function claimsOf(token) {
  const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (char) => char.charCodeAt(0))));
}

function render({ participants }, own) {
  const rows = participants.map(({ id, userId, attributes, isPublishing }) => {
    const row = document.createElement("li");
    row.textContent = `${userId || "Guest"}${id === own ? " (you)" : ""}${attributes.role === "host" ? ", host" : ""}${isPublishing ? ": live" : ""}`;
    return row;
  });
  document.querySelector("#people").replaceChildren(...rows);
  show(participants.length === 1 ? "You are alone." : `${participants.length} people`);
}

function join() {
  const { events_url: url, topic, jti } = claimsOf(token);
  const socket = new WebSocket(`${url}/${topic}`, [token]);
  const timer = setInterval(() => socket.send(JSON.stringify({ type: "PING" })), 10_000);
  socket.onopen = () => (leave.hidden = false);
  socket.onmessage = ({ data }) => {
    const { type, payload } = JSON.parse(data);
    if (type === "STAGE_STATE") render(payload, jti);
  };
  socket.onclose = ({ code }) => {
    clearInterval(timer);
    leave.hidden = true;
    document.querySelector("#people").replaceChildren();
    show(REASONS[code] ?? "You have left the room.");
  };
  leave.onclick = () => socket.close(1000);
}

try {
  join();
} catch {
  show("Your invitation is not complete: open the link once more.");
}
