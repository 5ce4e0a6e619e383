import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

// The browser that CHROMIUM_BIN names, or Chromium or Chrome on the PATH; otherwise the one that Playwright has installed.
const folders = (process.env.PATH ?? "").split(delimiter);
const installed = ["chromium", "google-chrome"].flatMap((name) => folders.map((folder) => join(folder, name)));

export default {
  reporter: "line",
  // A page on a busy machine of a CI is slow.
  timeout: 120_000,
  expect: { timeout: 30_000 },
  use: {
    browserName: "chromium",
    launchOptions: {
      executablePath: process.env.CHROMIUM_BIN || installed.find((file) => existsSync(file)),
      // The sandbox needs a user without root's rights.
      args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
    },
  },
};
