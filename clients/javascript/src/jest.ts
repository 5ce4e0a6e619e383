import { Kit } from "./fixture.js";
import type { StartOptions } from "./server.js";

export type { Kit };

type Hook = (run: () => Promise<void>, timeout?: number) => void;
const HOOK_TIMEOUT_MS = 60_000;

/**
 * For Jest, and other runners with its global hooks: a server for the test file, and an account of its own for each test.
 * With `@greenroom/testkit/global-setup`, all files share one server.
 */
export function useGreenroom(options: StartOptions = {}): Kit {
  const { beforeAll, beforeEach, afterEach, afterAll } = globalThis as unknown as Record<string, Hook | undefined>;
  if (!beforeAll || !beforeEach || !afterEach || !afterAll) {
    throw new Error("useGreenroom needs the global hooks of Jest (beforeAll, …): for Vitest import it from @greenroom/testkit/vitest");
  }
  const kit = new Kit();
  beforeAll(() => kit.start(options), HOOK_TIMEOUT_MS);
  beforeEach(() => kit.begin());
  afterEach(() => kit.end());
  afterAll(() => kit.stop(), HOOK_TIMEOUT_MS);
  return kit;
}
