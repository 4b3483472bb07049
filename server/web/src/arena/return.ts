// A page that is loaded again while somebody plays asks for the same seat, and not for a name.

const KEY = "tickloom.playing";
/** Before the room's name, which may be empty. */
const MARK = "=";

/** Keeps which room was asked for, or that nobody plays any more. The client keeps the seat. */
export function rememberPlaying(asked: string | undefined): void {
  try {
    sessionStorage.setItem(KEY, asked === undefined ? "" : MARK + asked);
  } catch {
    // Without storage the page asks again.
  }
}

/** The room that was asked for before the page was loaded again, if somebody played then. */
export function roomBeforeReload(): string | undefined {
  const [navigation] = performance.getEntriesByType("navigation");
  if ((navigation as PerformanceNavigationTiming | undefined)?.type !== "reload") {
    return undefined;
  }
  try {
    const kept = sessionStorage.getItem(KEY) ?? "";
    return kept.startsWith(MARK) ? kept.slice(MARK.length) : undefined;
  } catch {
    return undefined;
  }
}
