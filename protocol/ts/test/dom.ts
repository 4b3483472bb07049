import { Window } from "happy-dom";

const globals = [
  "document",
  "navigator",
  "HTMLIFrameElement",
  "HTMLElement",
  "CSSStyleSheet",
  "Node",
  "SVGElement",
  "Event",
] as const;

/**
 * Makes what a page has and Node lacks global. Modules that look at the page when they are loaded,
 * such as react-dom, are imported after this, with `await import(...)`.
 */
export function openPage(): Window {
  const page = new Window({ url: "http://localhost/" });
  for (const name of globals) {
    Object.defineProperty(globalThis, name, { value: page[name], configurable: true });
  }
  Object.defineProperty(globalThis, "window", { value: page, configurable: true });
  return page;
}
