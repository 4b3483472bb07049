// What the address and the browser remember: which room, and what its visitor is called.

const NAME_KEY = "tickloom.name";
const NAME_BYTES_MAX = 64;

const manners = ["Calm", "Bright", "Quiet", "Swift", "Merry", "Bold", "Gentle", "Clever"];
const animals = ["Heron", "Otter", "Lynx", "Finch", "Badger", "Marten", "Robin", "Hare"];

/** The room that the address names behind its `#`; empty when it names none. */
export function roomInAddress(): string {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** Puts a room into the address, so that the address leads others to it. */
export function showRoomInAddress(room: string): void {
  const url = new URL(location.href);
  url.hash = encodeURIComponent(room);
  url.searchParams.delete("name");
  history.replaceState(null, "", url);
}

/** What the visitor is called: as the address says, or as they said before, or something. */
export function visitorName(): string {
  const name = nameInAddress() || remembered() || madeUp();
  rememberName(name);
  return name;
}

/** `?name=` in the address, for links that lead straight in. */
export function nameInAddress(): string | undefined {
  const name = new URL(location.href).searchParams.get("name");
  return name ? clip(name) : undefined;
}

/** Keeps a name for the next visit. */
export function rememberName(name: string): void {
  try {
    localStorage.setItem(NAME_KEY, clip(name));
  } catch {
    // Private windows may have no storage; the name is then asked for again.
  }
}

/** A name without spaces around it and no longer than the server takes. */
export function clip(name: string): string {
  let clipped = name.trim();
  while (new TextEncoder().encode(clipped).length > NAME_BYTES_MAX) {
    clipped = [...clipped].slice(0, -1).join("");
  }
  return clipped;
}

/** Copies the page's address; says whether the browser let it. */
export async function copyAddress(): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(location.href);
    return true;
  } catch {
    return false;
  }
}

function madeUp(): string {
  const pick = (words: string[]) => words[Math.floor(Math.random() * words.length)] ?? "";
  return `${pick(manners)} ${pick(animals)}`;
}

function remembered(): string {
  try {
    return clip(localStorage.getItem(NAME_KEY) ?? "");
  } catch {
    return "";
  }
}
