// Chromium and Firefox as Debian has them, through one API. Puppeteer speaks to Chromium by its own
// protocol and to Firefox by WebDriver BiDi; Playwright drives only a Firefox that it has patched.
import { mkdtempSync } from "node:fs";
import { createRequire } from "node:module";

const { default: puppeteer } = await import(
  createRequire(`${process.env.MODULES}/`).resolve("puppeteer-core")
);

const kinds = {
  chromium: {
    browser: "chrome",
    executablePath: process.env.CHROMIUM,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-sync",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-dev-shm-usage",
      // Two pages are open at once; the one behind must not be slowed down.
      "--disable-background-timer-throttling",
      "--disable-backgrounding-occluded-windows",
      "--disable-renderer-backgrounding",
      // For what a tick leaves on the heap.
      "--enable-precise-memory-info",
      "--js-flags=--expose-gc",
    ],
  },
  firefox: {
    browser: "firefox",
    executablePath: process.env.FIREFOX,
    extraPrefsFirefox: {
      // Nothing is to be asked, fetched or told at the start.
      "app.normandy.enabled": false,
      "browser.shell.checkDefaultBrowser": false,
      "datareporting.policy.dataSubmissionEnabled": false,
      // A tick costs less than the millisecond to which clocks are rounded otherwise.
      "privacy.reduceTimerPrecision": false,
      "dom.min_background_timeout_value": 4,
      "ui.systemUsesDarkTheme": 0,
    },
  },
};

export const names = Object.keys(kinds);

/** Starts a browser with a profile of its own. */
export async function launch(name) {
  const userDataDir = mkdtempSync(`${process.env.WORK}/${name}-`);
  return await puppeteer.launch({ ...kinds[name], userDataDir, headless: true, timeout: 30_000 });
}
