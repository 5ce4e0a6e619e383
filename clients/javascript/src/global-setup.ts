import { Server } from "./server.js";

/** The server that all test files share. */
let shared: Server | undefined;

/**
 * `globalSetup` of Vitest and Jest: starts one server for all test files, which find it in the environment. The clock of a
 * shared server cannot be moved. Vitest calls the function that is returned at the end; Jest needs
 * `@greenroom/testkit/global-teardown` too.
 */
export default async function setup(): Promise<() => Promise<void>> {
  shared = await Server.start();
  const { endpoint, credentials } = shared;
  process.env.GREENROOM_ENDPOINT = endpoint;
  if (credentials) {
    process.env.GREENROOM_ACCESS_KEY_ID = credentials.accessKeyId;
    process.env.GREENROOM_SECRET_ACCESS_KEY = credentials.secretAccessKey;
  }
  (globalThis as { greenroomShared?: Server }).greenroomShared = shared;
  return stopShared;
}

/** Stops the shared server. Jest loads the teardown as a module of its own, so the server is found in `globalThis`. */
export async function stopShared(): Promise<void> {
  const server = shared ?? (globalThis as { greenroomShared?: Server }).greenroomShared;
  shared = undefined;
  await server?.stop();
}
