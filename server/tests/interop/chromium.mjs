// Chromium without a display. The cases run inside a page of the server, as a game's would.
import { mkdtempSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { base, plan, report } from './plan.mjs';

const { default: puppeteer } = await import(
  createRequire(`${process.env.MODULES}/`).resolve('puppeteer-core')
);
const browser = await puppeteer.launch({
  browser: 'chrome',
  executablePath: process.env.CHROMIUM,
  userDataDir: mkdtempSync(`${process.env.WORK}/chromium-`),
  headless: true,
  acceptInsecureCerts: true,
  timeout: 30_000,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
    '--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage',
    '--ignore-certificate-errors',
  ],
});
// Whatever a page shows, a WebSocket from it is its origin's.
async function connectFromElsewhere() {
  const page = await browser.newPage();
  await page.goto('data:text/html,elsewhere');
  const outcome = await page.evaluate((url) => new Promise((resolve) => {
    const socket = new WebSocket(url);
    socket.onopen = () => resolve('opened');
    socket.onerror = () => resolve('refused');
  }), `${base}/ws`);
  if (outcome !== 'refused') throw new Error(`the server ${outcome} a WebSocket`);
}

try {
  const page = await browser.newPage();
  await page.goto(`${base.replace(/^ws/, 'http')}/healthz`, { timeout: 15_000 });
  await page.exposeFunction('report', report);
  const source = readFileSync(new URL('cases.mjs', import.meta.url), 'base64');
  await page.evaluate(async ({ source, base, plan }) => {
    const { play } = await import(`data:text/javascript;base64,${source}`);
    const open = (path, protocols = []) => new WebSocket(base + path, protocols);
    await play(open, plan, window.report);
  }, { source, base, plan });
  await connectFromElsewhere().then(
    () => report('page from elsewhere', null),
    (error) => report('page from elsewhere', error.message),
  );
} finally {
  await browser.close();
}
