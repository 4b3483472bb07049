// Values as text, and text as values: what a tree shows and what forms read.

/** Bytes of a value that are shown. */
const BYTES_SHOWN = 24;
const TEXT_SHOWN = 160;

/** One line about any value of a room. */
export function show(value: unknown): string {
  if (value instanceof Uint8Array) {
    return showBytes(value);
  }
  switch (typeof value) {
    case "string":
      return clip(JSON.stringify(value));
    case "number":
      return showNumber(value);
    case "bigint":
      return `${value}n`;
    case "object":
      return value === null ? "null" : showObject(value);
    default:
      return String(value);
  }
}

function showObject(value: object): string {
  if (Array.isArray(value)) {
    return clip(JSON.stringify(value));
  }
  const pairs = Object.entries(value).map(([key, inner]) => `${key} ${show(inner)}`);
  return pairs.length > 0 ? clip(pairs.join("   ")) : "{}";
}

/** As many digits as tell something. */
function showNumber(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
}

/** Bytes in hexadecimal digits, and how many there are when not all are shown. */
export function showBytes(bytes: Uint8Array): string {
  const hex = [...bytes.subarray(0, BYTES_SHOWN)].map((byte) => byte.toString(16).padStart(2, "0"));
  const rest = bytes.length > BYTES_SHOWN ? ` … ${bytes.length} bytes` : "";
  return bytes.length === 0 ? "no bytes" : hex.join(" ") + rest;
}

/** What was said on a topic: its text when it is one, else its bytes. */
export function showBody(bytes: Uint8Array): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    // Control characters are no text that somebody wrote.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
    return /[\u0000-\u0008\u000e-\u001f]/.test(text) ? showBytes(bytes) : clip(text);
  } catch {
    return showBytes(bytes);
  }
}

/** Text as what it looks like: JSON, bytes after `0x`, or itself. */
export function readBody(text: string): string | object | Uint8Array {
  const trimmed = text.trim();
  if (/^0x([0-9a-f\s]*)$/i.test(trimmed)) {
    return readHex(trimmed.slice(2));
  }
  if (/^[[{]/.test(trimmed)) {
    return JSON.parse(trimmed) as object;
  }
  return text;
}

/** Hexadecimal digits as bytes. */
export function readHex(text: string): Uint8Array {
  const digits = text.replace(/\s/g, "");
  if (digits.length % 2 === 1 || /[^0-9a-f]/i.test(digits)) {
    throw new Error(`"${text}" is not bytes: write two hexadecimal digits for each`);
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** A JSON object, for a field that is called `what`; undefined when nothing is written there. */
export function readObject(text: string, what: string): Record<string, unknown> | undefined {
  if (text.trim() === "") {
    return undefined;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error(`${what} must be a JSON object, such as {"key": 1}`);
  }
  return value as Record<string, unknown>;
}

/** Whole numbers with commas between, for a field that is called `what`. */
export function readNumbers(text: string, what: string): number[] {
  const parts = text.split(",").map((part) => part.trim());
  return parts
    .filter((part) => part !== "")
    .map((part) => {
      if (!/^\d+$/.test(part)) {
        throw new Error(`${what}: "${part}" is not a whole number`);
      }
      return Number(part);
    });
}

function clip(text: string): string {
  return text.length > TEXT_SHOWN ? `${text.slice(0, TEXT_SHOWN)} …` : text;
}
