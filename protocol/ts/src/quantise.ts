/**
 * Numbers in a declared range as integers of 8, 16, 24 or 32 bits (SPEC.md section 5,
 * "Quantisation"). Both ends compute with what the integer stands for, to the last bit.
 */

/** A mapping between numbers and integers. */
export interface Quantiser {
  readonly wraps: boolean;
  readonly min: number;
  readonly range: number;
  /** Steps over the range. */
  readonly steps: number;
  /** The largest integer. */
  readonly qMax: number;
}

/** A quantiser of `bits` bits over `[min, max]`; `wraps` takes what is outside modulo the range. */
export function quantiser(bits: number, wraps: boolean, min: number, max: number): Quantiser {
  const full = 2 ** bits;
  // Opposite ends leave one integer out, which makes 0 exact.
  const steps = wraps ? full : min === -max ? full - 2 : full - 1;
  return { wraps, min, range: max - min, steps, qMax: wraps ? full - 1 : steps };
}

/** The integer for `value`; NaN is 0. */
export function quantise({ wraps, min, range, steps, qMax }: Quantiser, value: number): number {
  let unit = (value - min) / range;
  if (wraps) {
    unit %= 1;
    if (unit < 0) unit += 1;
  }
  const q = Math.floor(unit * steps + 0.5);
  return wraps && q >= steps ? 0 : Math.min(Math.max(q, 0), qMax) || 0;
}

/** The number that `q` stands for. */
export function dequantise({ min, range, steps }: Quantiser, q: number): number {
  return min + (q / steps) * range;
}
