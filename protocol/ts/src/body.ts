/** What bytes, a text or an object that travels as JSON are on the wire. */
export function bytesOf(body: Uint8Array | string | object): Uint8Array {
  if (body instanceof Uint8Array) {
    return body;
  }
  return new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body));
}

/** The bytes that hexadecimal digits stand for. */
export const bytesOfHex = (digits: string): Uint8Array =>
  Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
