import type { Unsubscribe } from "./emitter.js";

/** What happens to the page that a client lives in. Elsewhere nothing ever does. */
export interface PageHandlers {
  /** The page is seen by nobody, or by somebody again. */
  seen(isHidden: boolean): void;
  /** The page goes. `isKept` says that the browser may bring it back as it is. */
  gone(isKept: boolean): void;
  /** The page is back from where the browser kept it. */
  back(): void;
  /** The machine has, or has lost, all of its network. */
  online(isOnline: boolean): void;
}

/** Whether nobody sees the page. */
export const isHidden = (): boolean => globalThis.document?.visibilityState === "hidden";

/** Whether the machine says that it has no network. */
export const isOffline = (): boolean => globalThis.navigator?.onLine === false;

/** Watches the life of the page. */
export function watchPage(handlers: PageHandlers): Unsubscribe {
  if (typeof document === "undefined" || typeof addEventListener === "undefined") {
    return () => {};
  }
  const stop = new AbortController();
  const on = (target: EventTarget, type: string, handler: (event: Event) => void) =>
    target.addEventListener(type, handler, { signal: stop.signal });
  on(document, "visibilitychange", () => handlers.seen(isHidden()));
  on(globalThis, "pagehide", (event) => handlers.gone((event as PageTransitionEvent).persisted));
  on(globalThis, "pageshow", (event) => {
    if ((event as PageTransitionEvent).persisted) {
      handlers.back();
    }
  });
  on(globalThis, "online", () => handlers.online(true));
  on(globalThis, "offline", () => handlers.online(false));
  return () => stop.abort();
}
