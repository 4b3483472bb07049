// Short words about what just happened, at the lower edge of every page and read aloud.

import { element } from "./dom.js";

const SHOWN_MS = 5_000;
const COUNT_MAX = 3;

/** Says something for a few seconds. */
export function say(text: string): void {
  put(text, "");
}

/** Says that something went wrong. */
export function complain(text: string): void {
  put(text, "bad");
}

function put(text: string, kind: string): void {
  const list = place();
  while (list.childElementCount >= COUNT_MAX) {
    list.firstElementChild?.remove();
  }
  const line = element("p", { class: kind || undefined }, text);
  list.append(line);
  setTimeout(() => line.remove(), SHOWN_MS);
}

/** A place that is there before there is something to say, as screen readers need it. */
function place(): HTMLElement {
  const there = document.querySelector<HTMLElement>(".toasts");
  if (there) {
    return there;
  }
  const made = element("div", { class: "toasts", role: "status", id: "toasts" });
  document.body.append(made);
  return made;
}
