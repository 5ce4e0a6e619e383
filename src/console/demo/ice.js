/** ICE servers in `Link` headers, as RFC 9725 (section 4.6) has them, in the form that RTCPeerConnection takes. */

const LINK = /<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s";,]+))*)/g;
const PARAMETER = /([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";,]+))/g;

export function iceServersIn(link) {
  const servers = [...(link ?? "").matchAll(LINK)].map(([, urls, parameters]) => {
    const found = [...parameters.matchAll(PARAMETER)];
    const of = Object.fromEntries(found.map(([, name, quoted, plain]) => [name, quoted?.replace(/\\(.)/g, "$1") ?? plain]));
    return { urls, ...of };
  });
  // A TURN server without credentials would make the whole connection fail.
  return servers
    .filter(({ rel, urls, username }) => rel === "ice-server" && (username !== undefined || !urls.startsWith("turn")))
    .map(({ urls, username, credential }) => (username === undefined ? { urls } : { urls, username, credential }));
}
