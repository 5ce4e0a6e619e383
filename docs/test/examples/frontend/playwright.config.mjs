// Uses Debian's Chromium, or the browser that CHROMIUM_BIN names. The sandbox needs a user without root's rights.
export default {
  reporter: "line",
  // A page on a busy machine of a CI is slow.
  timeout: 120_000,
  expect: { timeout: 30_000 },
  use: {
    browserName: "chromium",
    launchOptions: {
      executablePath: process.env.CHROMIUM_BIN || "/usr/bin/chromium",
      args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
    },
  },
};
