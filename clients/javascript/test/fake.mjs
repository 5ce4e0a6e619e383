/** A fake of the server: it records each request, and sends the response that the test has set. */

import { once } from "node:events";
import { createServer } from "node:http";

export async function startFake() {
  const requests = [];
  const responses = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { pathname, searchParams } = new URL(request.url, "http://fake");
    const body = Buffer.concat(chunks).toString();
    requests.push({ method: request.method, path: pathname, query: Object.fromEntries(searchParams), headers: request.headers, body });
    const { status = 200, code, document = {} } = responses.shift() ?? {};
    response.writeHead(status, code ? { "x-amzn-errortype": code } : {});
    response.end(JSON.stringify(document));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${server.address().port}`,
    requests,
    answer: (document, status, code) => responses.push({ document, status, code }),
    last: () => requests.at(-1),
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
