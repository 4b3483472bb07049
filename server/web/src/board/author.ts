// Numbers and names that a browser makes up.

const AUTHOR_KEY = "tickloom.author";
/** As in the codes of rooms: no letters that look like digits. */
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const NAME_LENGTH = 6;

/** Whose strokes are whose: a number that this browser keeps. */
export function authorNumber(): number {
  try {
    const kept = Number(localStorage.getItem(AUTHOR_KEY));
    if (Number.isInteger(kept) && kept > 0 && kept < 2 ** 32) {
      return kept;
    }
    const drawn = draw();
    localStorage.setItem(AUTHOR_KEY, String(drawn));
    return drawn;
  } catch {
    // Without storage, strokes are one's own until the page is loaded again.
    return draw();
  }
}

/** A name for a board that nobody else has. */
export function newRoomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(NAME_LENGTH));
  return [...bytes].map((byte) => ALPHABET[byte % ALPHABET.length]).join("");
}

function draw(): number {
  return (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) || 1;
}
