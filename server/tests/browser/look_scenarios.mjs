// Every page as it looks, by day and by night, on a desk and in a hand; and whether those who do
// not see it, or have no mouse, can use it.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";

const folder = process.env.SCREENSHOTS;

const pages = [
  { name: "index", path: "" },
  { name: "arena", path: "arena" },
  { name: "arena-playing", path: "arena?name=Ann#look" },
  { name: "world", path: "arena?type=world&name=Ann#look" },
  { name: "board", path: "board?name=Ann#look" },
  { name: "live", path: "live?name=Ann#look" },
  { name: "playground", path: "playground" },
];
const screens = [
  { screen: "desktop", width: 1280, height: 800 },
  { screen: "phone", width: 390, height: 844, isTouch: true },
];

/** What somebody who cannot see or point would stumble over. */
function obstacles() {
  const found = [];
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true });
  const tellOf = (element) => element.outerHTML.slice(0, 120);
  const labelled = (element) =>
    (element.getAttribute("aria-labelledby") ?? "")
      .split(" ")
      .map((id) => document.getElementById(id)?.textContent ?? "")
      .join(" ");
  const nameOf = (element) =>
    [
      element.getAttribute("aria-label"),
      labelled(element),
      ...[...(element.labels ?? [])].map((label) => label.textContent),
      element.alt,
      element.matches("input, select, textarea") ? "" : element.textContent,
      element.title,
    ].join("");
  const controls = "a[href], button, input, select, textarea, summary, [role=button], [tabindex='0']";
  for (const element of document.querySelectorAll(controls)) {
    if (isSeen(element) && !nameOf(element).trim()) found.push(`no name: ${tellOf(element)}`);
  }
  for (const image of document.querySelectorAll("img:not([alt])")) {
    found.push(`no alt: ${tellOf(image)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) {
    found.push(`twice there: #${id}`);
  }
  if (!document.documentElement.lang) found.push("no language");
  if (!document.title) found.push("no title");
  if (document.querySelectorAll("main").length !== 1) found.push("not one main");
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  if (document.documentElement.scrollWidth > innerWidth + 1) {
    found.push(`${document.documentElement.scrollWidth} px wide on a screen of ${innerWidth}`);
  }
  return found;
}

/** Marks what the keyboard must reach, and says how much that is. */
function markReachable() {
  globalThis.reached = new Set();
  addEventListener("focusin", (event) => reached.add(event.target));
  globalThis.reachable = () =>
    [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
      .filter((element) => element.tabIndex >= 0 && !element.disabled)
      .filter((element) => element.checkVisibility({ visibilityProperty: true }))
      // Of a group of radio buttons the keyboard reaches one.
      .filter((element) => element.type !== "radio" || element.checked);
  document.activeElement?.blur();
  return reachable().length;
}

const notReached = () =>
  reachable()
    .filter((element) => !reached.has(element))
    .map((element) => element.outerHTML.slice(0, 120));

/** Opens a page and waits until it rests. */
async function look(visitor, server, { path }) {
  await visitor.goto(`${server.http}/${path}`);
  const isUp = () => document.readyState === "complete" && document.fonts.status === "loaded";
  await visitor.until("the page", isUp);
  // What comes over the line has come: a page that joins has said so for a moment.
  await visitor.until("rest", () => performance.now() > 700);
}

export const lookScenarios = [
  ...screens.map((size) => ({
    name: `every page fits a ${size.screen} and names its controls`,
    async run({ name, visit, server }) {
      mkdirSync(folder, { recursive: true });
      const visitor = await visit(size);
      const found = [];
      for (const page of pages) {
        await look(visitor, server, page);
        found.push(...(await visitor.evaluate(obstacles)).map((what) => `${page.name}: ${what}`));
        const file = `${folder}/${name}-${page.name}-${size.screen}`;
        await visitor.page.screenshot({ path: `${file}-light.png` });
        if (name === "chromium") {
          const scheme = (value) => [{ name: "prefers-color-scheme", value }];
          await visitor.page.emulateMediaFeatures(scheme("dark"));
          await visitor.until("a frame", () => new Promise((next) => requestAnimationFrame(next)));
          await visitor.page.screenshot({ path: `${file}-dark.png` });
          await visitor.page.emulateMediaFeatures(scheme("light"));
        }
      }
      assert.deepEqual(found, []);
    },
  })),
  {
    name: "the keyboard reaches every control",
    browsers: ["chromium"],
    async run({ visit, server }) {
      const visitor = await visit();
      let count = 0;
      const missed = [];
      for (const page of pages) {
        await look(visitor, server, page);
        const steps = await visitor.evaluate(markReachable);
        for (let step = 0; step < steps + 5; step++) {
          await visitor.page.keyboard.press("Tab");
        }
        missed.push(...(await visitor.evaluate(notReached)).map((what) => `${page.name}: ${what}`));
        count += steps;
      }
      assert.deepEqual(missed, []);
      return `${count} controls`;
    },
  },
];
