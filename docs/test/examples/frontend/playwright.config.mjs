// Uses Debian's Chromium, or the browser that CHROMIUM_BIN names. The sandbox needs a user without root's rights.
export default {
  reporter: "line",
  use: {
    browserName: "chromium",
    launchOptions: {
      executablePath: process.env.CHROMIUM_BIN || "/usr/bin/chromium",
      args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
    },
  },
};
