import { afterAll, afterEach, beforeAll, beforeEach, test as base } from "vitest";
import type { Greenroom } from "./client.js";
import { Kit, isolate, journalText } from "./fixture.js";
import { Server, type StartOptions } from "./server.js";

export type { Kit };
const HOOK_TIMEOUT_MS = 60_000;

/** The fixtures of `test`. */
export interface Fixtures {
  /** The server of the test file, or the one that all files share. */
  greenroomServer: Server;
  /** The control client of the test's own account. */
  greenroom: Greenroom;
}

/** `test` of Vitest with a server for the file, and an account of its own for each test. */
export const test = base.extend<Fixtures>({
  greenroomServer: [
    // Vitest reads the names of the fixtures from the pattern.
    async ({}, use) => {
      const server = await Server.start();
      await use(server);
      await server.stop();
    },
    { scope: "file" },
  ],
  greenroom: async ({ greenroomServer, task }, use) => {
    const { greenroom, release } = await isolate(greenroomServer);
    await use(greenroom);
    if (task.result?.state === "fail") console.error(await journalText(greenroom));
    await release();
  },
});

/** The same with hooks, for tests that are written with Vitest's own `test`. */
export function useGreenroom(options: StartOptions = {}): Kit {
  const kit = new Kit();
  beforeAll(() => kit.start(options), HOOK_TIMEOUT_MS);
  beforeEach(() => kit.begin());
  afterEach(async ({ task }) => {
    if (task.result?.state === "fail") console.error(await journalText(kit.greenroom));
    await kit.end();
  });
  afterAll(() => kit.stop(), HOOK_TIMEOUT_MS);
  return kit;
}
