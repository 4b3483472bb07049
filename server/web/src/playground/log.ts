// What happened, the newest first.

import { byId, element } from "../frame/dom.js";

const LINES_MAX = 250;

export type Kind = "line" | "event" | "sent" | "answer" | "error";

/** Writes a line. `bytes` is how long what was said or sent is. */
export function note(kind: Kind, text: string, bytes?: number): void {
  const list = byId("log");
  const now = new Date();
  const time = `${now.toLocaleTimeString("en-GB")}.${String(now.getMilliseconds()).padStart(3, "0")}`;
  const line = element(
    "li",
    { class: `log-${kind}`, "data-kind": kind },
    element("time", {}, time),
    element("span", {}, text),
  );
  if (bytes !== undefined) {
    line.append(element("span", { class: "size" }, `${bytes} B`));
  }
  list.prepend(line);
  while (list.childElementCount > LINES_MAX) {
    list.lastElementChild?.remove();
  }
}

export function clearLog(): void {
  byId("log").replaceChildren();
}
