/** Keys that keep a list in order: between any two there is room for another (SPEC.md section 10). */

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** The least integer, which is no key by itself. */
const LEAST = `A${"0".repeat(26)}`;
/** Bytes of a key. */
const KEY_MAX = 128;

/**
 * A key between two neighbours: `before` is `undefined` at the front of a list, `after` at its end.
 *
 * Throws a `RangeError` when a neighbour is no key, when they are not in order, or when the key would
 * be too long. The list is due for new keys then: the first of `keyBetween(undefined, undefined)`,
 * each other of `keyBetween(last, undefined)`.
 */
export function keyBetween(before: string | undefined, after: string | undefined): string {
  const lower = before === undefined ? undefined : parse("before", before);
  const upper = after === undefined ? undefined : parse("after", after);
  if (lower && upper && before! >= after!) {
    throw new RangeError(`not-ascending: ${before} is not before ${after}`);
  }
  const key = lower ? keyAfter(lower, upper) : upper ? keyBefore(upper) : "a0";
  if (key.length > KEY_MAX) throw new RangeError(`too-long: no key of ${KEY_MAX} bytes is there`);
  return key;
}

/** The integer and the fraction of a key. */
type Key = [integer: string, fraction: string];

function parse(which: string, key: string): Key {
  const head = key.charCodeAt(0);
  // "a" is followed by one digit and "z" by 26, "Z" by one and "A" by 26.
  const length = head > 96 ? head - 95 : 92 - head;
  const isKey = /^[A-Za-z][0-9A-Za-z]+$/.test(key) && key.length >= length && key !== LEAST;
  if (!isKey || (key.length > length && key.endsWith("0"))) {
    throw new RangeError(`bad-${which}: ${key} is no ordering key`);
  }
  return [key.slice(0, length), key.slice(length)];
}

function keyBefore([integer, fraction]: Key): string {
  if (fraction && integer !== LEAST) return integer;
  const next = counted(integer, -1);
  if (next && next !== LEAST) return next;
  // Below the least but one there are only fractions of the least.
  return next ? next + middle("", undefined) : integer + middle("", fraction);
}

function keyAfter([integer, fraction]: Key, upper: Key | undefined): string {
  if (upper?.[0] === integer) return integer + middle(fraction, upper[1]);
  const next = counted(integer, 1);
  if (next && (!upper || next !== upper[0] || upper[1])) return next;
  return integer + middle(fraction, undefined);
}

/** The integer after or before this one; `undefined` at the ends. */
function counted(integer: string, step: 1 | -1): string | undefined {
  const [last, first] = step > 0 ? ["z", "0"] : ["0", "z"];
  const digits = [...integer];
  let at = digits.length - 1;
  for (; at && digits[at] === last; at--) digits[at] = first!;
  if (at) {
    digits[at] = DIGITS[DIGITS.indexOf(digits[at]!) + step]!;
    return digits.join("");
  }
  const head = integer[0]!;
  if (head === (step > 0 ? "z" : "A")) return undefined;
  if (head === (step > 0 ? "Z" : "a")) return step > 0 ? "a0" : "Zz";
  // Away from zero integers get longer.
  if (head > "Z" === step > 0) digits.push(first!);
  else digits.pop();
  digits[0] = String.fromCharCode(head.charCodeAt(0) + step);
  return digits.join("");
}

/** The fraction in the middle of two others; without an upper one, of `lower` and 1. */
function middle(lower: string, upper: string | undefined): string {
  let fraction = "";
  for (let at = 0; ; at++) {
    const low = at < lower.length ? DIGITS.indexOf(lower[at]!) : 0;
    const high = upper === undefined ? DIGITS.length : DIGITS.indexOf(upper[at]!);
    if (high > low + 1) return fraction + DIGITS[Math.ceil((low + high) / 2)];
    if (high > low && upper !== undefined && upper.length > at + 1) return fraction + DIGITS[high];
    fraction += DIGITS[low];
    // Once a digit is below the upper fraction's, that one bounds nothing any more.
    if (high !== low) upper = undefined;
  }
}
