import { Server } from "./server.js";

/** The variables that name the shared server to the test files. */
const VARIABLES = ["GREENROOM_ENDPOINT", "GREENROOM_ACCESS_KEY_ID", "GREENROOM_SECRET_ACCESS_KEY"] as const;
type Variables = Record<(typeof VARIABLES)[number], string | undefined>;

/** In `globalThis`, as setup and teardown can be loaded as different modules (ES and CommonJS). */
const holder = globalThis as { greenroomShared?: { server: Server; variables: Variables } | undefined };

/**
 * `globalSetup` of Vitest and Jest: starts one server for all test files, which find it in the environment. The clock of a
 * shared server cannot be moved. Vitest calls the function that is returned at the end; Jest needs
 * `@greenroom/testkit/global-teardown` too. In watch mode both are called for each run.
 */
export default async function setup(): Promise<() => Promise<void>> {
  const server = await Server.start();
  const variables = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]])) as Variables;
  holder.greenroomShared = { server, variables };
  setVariables({
    GREENROOM_ENDPOINT: server.endpoint,
    GREENROOM_ACCESS_KEY_ID: server.credentials?.accessKeyId,
    GREENROOM_SECRET_ACCESS_KEY: server.credentials?.secretAccessKey,
  });
  return stopShared;
}

/** Stops the shared server, and restores the environment: the next run starts a server again. */
export async function stopShared(): Promise<void> {
  const shared = holder.greenroomShared;
  holder.greenroomShared = undefined;
  if (!shared) return;
  setVariables(shared.variables);
  await shared.server.stop();
}

function setVariables(variables: Variables): void {
  for (const name of VARIABLES) {
    const value = variables[name];
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}
