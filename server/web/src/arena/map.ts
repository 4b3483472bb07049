// The boxes of an arena, and how movers slide along them: the server's arithmetic, digit by digit.
// The server computes in 32-bit floats; rounding each operation to one gives what it gets.

/** Half the side of an arena; its centre is the origin. */
export const HALF_EXTENT = 1024;

/** A box that stops fighters and shots, in world units. */
export interface Obstacle {
  minX: number;
  minY: number;
  maxX: number;
  maxY: number;
}

const SIDES_BYTES = 8;
const f32 = Math.fround;

/** Reads the component `map`: a count, then four little-endian `i16` per box. */
export function decodeMap(bytes: Uint8Array): Obstacle[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes[0] ?? 0;
  if (bytes.length !== 1 + count * SIDES_BYTES) {
    throw new Error(`a map of ${count} boxes cannot have ${bytes.length} bytes`);
  }
  return Array.from({ length: count }, (_, index) => {
    const side = (at: number) => view.getInt16(1 + index * SIDES_BYTES + at * 2, true);
    return { minX: side(0), minY: side(1), maxX: side(2), maxY: side(3) };
  });
}

/** Where somebody of `radius` ends up who goes from `x`, `y` by a step. */
export function slide(
  obstacles: readonly Obstacle[],
  { x, y }: { x: number; y: number },
  step: { x: number; y: number },
  radius: number,
): { x: number; y: number } {
  const reach = HALF_EXTENT - radius;
  let toX = clamp(f32(x + step.x), -reach, reach);
  for (const { minX, minY, maxX, maxY } of obstacles) {
    if (y > minY - radius && y < maxY + radius) {
      toX = stop(x, toX, minX - radius, maxX + radius);
    }
  }
  let toY = clamp(f32(y + step.y), -reach, reach);
  for (const { minX, minY, maxX, maxY } of obstacles) {
    if (toX > minX - radius && toX < maxX + radius) {
      toY = stop(y, toY, minY - radius, maxY + radius);
    }
  }
  return { x: toX, y: toY };
}

/** Where a move along one axis from outside the open span `low..high` stops. */
function stop(from: number, to: number, low: number, high: number): number {
  if (from <= low) {
    return Math.min(to, low);
  }
  // Inside, where only a rounded position gets somebody, they may walk out.
  return from >= high ? Math.max(to, high) : to;
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
