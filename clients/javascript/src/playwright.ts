import { test as base } from "@playwright/test";
import type { Greenroom } from "./client.js";
import { isolate, journalText } from "./fixture.js";
import type { Capability, Participant } from "./participants.js";
import { Server } from "./server.js";

export { expect } from "@playwright/test";

/** What a page needs to join a stage, and the simulated participants that are there. */
export interface Room {
  stageArn: string;
  /** The stage's id: the end of its ARN, and of the URL of the events WebSocket. */
  stageId: string;
  /** The token for the page, and the participant's id that it names. */
  token: string;
  participantId: string;
  userId: string;
  /** The others, by user id. */
  others: Map<string, Participant>;
  /** One of the others. */
  other(userId: string): Participant;
}

/** How the room of a test is made: `test.use({ roomOptions: { others: ["bob"] } })`. */
export interface RoomOptions {
  /** The user id of the page's token (default: `page`). */
  userId?: string;
  attributes?: Record<string, string>;
  capabilities?: Capability[];
  /** User ids of simulated participants that join before the page (default: none). */
  others?: string[];
  /** Whether they publish (default: yes). */
  othersPublish?: boolean;
}

interface TestFixtures {
  roomOptions: RoomOptions;
  /** The control client of the test's own account. */
  greenroom: Greenroom;
  /** A new stage with a token for the page, and with simulated others. */
  room: Room;
}

interface WorkerFixtures {
  /** The server of the worker. */
  greenroomServer: Server;
}

/** `test` of Playwright with a server for the worker, and an account of its own for each test. */
export const test = base.extend<TestFixtures, WorkerFixtures>({
  greenroomServer: [
    async ({}, use) => {
      const server = await Server.start();
      await use(server);
      await server.stop();
    },
    { scope: "worker", timeout: 60_000 },
  ],
  greenroom: async ({ greenroomServer }, use, info) => {
    const { greenroom, release } = await isolate(greenroomServer);
    await use(greenroom);
    if (info.status !== info.expectedStatus) {
      await info.attach("greenroom-journal", { body: await journalText(greenroom), contentType: "text/plain" });
    }
    await release();
  },
  roomOptions: [{}, { option: true }],
  room: async ({ greenroom, roomOptions }, use) => {
    await use(await makeRoom(greenroom, roomOptions));
  },
});

async function makeRoom(greenroom: Greenroom, options: RoomOptions): Promise<Room> {
  const { userId = "page", attributes, capabilities, others = [], othersPublish = true } = options;
  const token = { stage: "room", userId, ...(attributes && { attributes }), ...(capabilities && { capabilities }) };
  const seeded = await greenroom.seed({ stages: [{ name: "room" }], tokens: [token] });
  const stageArn = seeded.arn("room");
  const joined = new Map<string, Participant>();
  for (const other of others) {
    joined.set(other, await greenroom.join(stageArn, { userId: other, publish: othersPublish }));
  }
  const [made] = seeded.tokens;
  if (!made) throw new Error("the seed has made no token");
  return {
    stageArn,
    stageId: stageArn.slice(stageArn.lastIndexOf("/") + 1),
    token: made.token,
    participantId: made.participantId,
    userId,
    others: joined,
    other: (name) => {
      const found = joined.get(name);
      if (!found) throw new Error(`'${name}' is not one of the room's others: ${others.join(", ") || "none"}`);
      return found;
    },
  };
}
