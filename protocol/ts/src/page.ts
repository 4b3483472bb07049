import type { Unsubscribe } from "./emitter.js";

/** What happens to the page that a client lives in. Elsewhere nothing ever does. */
export interface PageHandlers {
  /** The page is seen by nobody, or by somebody again. */
  seen(): void;
  /** The page goes. `isKept` says that the browser may bring it back as it is. */
  gone(isKept: boolean): void;
  /** The page is back from where the browser kept it, or the machine has a network again. */
  back(): void;
  /** The machine has lost all of its network. */
  offline(): void;
}

/** Whether nobody sees the page. */
export const isHidden = (): boolean => globalThis.document?.visibilityState === "hidden";

/** Whether the machine says that it has no network. */
export const isOffline = (): boolean => globalThis.navigator?.onLine === false;

/** Watches the life of the page. */
export function watchPage({ seen, gone, back, offline }: PageHandlers): Unsubscribe {
  const stop = new AbortController();
  const on = (target: EventTarget, type: string, handler: (event: never) => void) =>
    target.addEventListener(type, handler as EventListener, { signal: stop.signal });
  if (globalThis.document) {
    on(document, "visibilitychange", seen);
    on(globalThis, "pagehide", ({ persisted }: PageTransitionEvent) => gone(persisted));
    // One that was never away is not frozen either.
    on(globalThis, "pageshow", back);
    on(globalThis, "online", back);
    on(globalThis, "offline", offline);
  }
  return () => stop.abort();
}
