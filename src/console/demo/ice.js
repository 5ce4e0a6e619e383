/** ICE servers in `Link` headers, (RFC 9725, section 4.6), in the form of RTCConfiguration. */

const LINK = /<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s";,]+))*)/g;
const PARAMETER = /([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";,]+))/g;

export function iceServersIn(link) {
  const servers = [...(link ?? "").matchAll(LINK)].map(([, urls, parameters]) => {
    const found = [...parameters.matchAll(PARAMETER)];
    const of = Object.fromEntries(found.map(([, name, quoted, plain]) => [name, quoted?.replace(/\\(.)/g, "$1") ?? plain]));
    return { urls, ...of };
  });
  // RTCPeerConnection throws for a TURN server without credentials.
  return servers
    .filter(({ rel, urls, username }) => rel === "ice-server" && (username !== undefined || !urls.startsWith("turn")))
    .map(({ urls, username, credential }) => (username === undefined ? { urls } : { urls, username, credential }));
}
