// Tests of the page with the fixture of @greenroom/testkit: a token for the page, and others in the room.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { DisconnectParticipantCommand, GetParticipantCommand, IVSRealTimeClient } from "@aws-sdk/client-ivs-realtime";
import { expect, test } from "@greenroom/testkit/playwright";

test.use({ roomOptions: { userId: "page", others: ["alice", "bob"] } });

/** The web server of the page: any that serves it from this machine. */
const site = createServer(async (request, response) => {
  const name = new URL(request.url, "http://localhost").pathname.slice(1) || "index.html";
  response.setHeader("content-type", name.endsWith(".js") ? "text/javascript" : "text/html");
  response.end(await readFile(new URL(name, import.meta.url)).catch(() => ""));
});

test.beforeAll(() => new Promise((listening) => site.listen(0, "127.0.0.1", listening)));
test.afterAll(() => site.close());

/** Opens the page with the token. */
test.beforeEach(async ({ page, room }) => {
  await page.goto(`http://127.0.0.1:${site.address().port}/#${encodeURIComponent(room.token)}`);
});

const people = (page) => page.getByRole("list", { name: "People" }).getByRole("listitem");

test("the page shows who is live", async ({ page, room }) => {
  await expect(people(page)).toHaveText(["alice: live", "bob: live", "page (you)"]);
  await room.other("bob").unpublish();
  await expect(people(page)).toHaveText(["alice: live", "bob", "page (you)"]);
  await room.other("alice").leave();
  await expect(page.getByRole("status")).toHaveText("2 people");
});

test("a participant that joins later appears, with its role", async ({ page, room, greenroom }) => {
  await greenroom.join(room.stageArn, { userId: "carol", attributes: { role: "host" } });
  await expect(people(page).filter({ hasText: "carol, host" })).toBeVisible();
});

test("the page that leaves is disconnected", async ({ page, room, greenroom }) => {
  await expect(page.getByRole("status")).toHaveText("3 people");
  await page.getByRole("button", { name: "Leave" }).click();
  await expect(page.getByRole("status")).toHaveText("You have left the room.");
  const ivs = new IVSRealTimeClient(greenroom.clientConfig());
  const { sessionId } = room.other("alice");
  const own = { stageArn: room.stageArn, sessionId, participantId: room.participantId };
  const state = async () => (await ivs.send(new GetParticipantCommand(own))).participant.state;
  await expect.poll(state).toBe("DISCONNECTED");
});

test("the page says that it was removed", async ({ page, room, greenroom }) => {
  await expect(page.getByRole("status")).toHaveText("3 people");
  const ivs = new IVSRealTimeClient(greenroom.clientConfig());
  await ivs.send(new DisconnectParticipantCommand({ stageArn: room.stageArn, participantId: room.participantId }));
  await expect(page.getByRole("status")).toHaveText("You have been removed from the room.");
});

test("the page says that its invitation is refused", async ({ page, greenroom }) => {
  await greenroom.fault({}, { refuseToken: { code: "TOKEN_EXPIRED" } });
  await page.reload();
  await expect(page.getByRole("status")).toHaveText("Your invitation is no longer valid.");
});
