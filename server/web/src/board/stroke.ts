// A line that somebody drew, as bytes and as points.
//
//   1:u8 pen:u8 width:u8 author:u32 startedMs:v (dx:zigzag dy:zigzag)*
//
// All little endian; `v` is LEB128. Points are in quarters of a unit, each as the difference to the
// one before, so a point takes about two bytes.

/** A point of a board, in its units. */
export interface Point {
  x: number;
  y: number;
}

export interface Stroke {
  /** An index of the pens. */
  pen: number;
  /** In units, 1 to 255. */
  width: number;
  /** Whose stroke it is: a number that a browser keeps. */
  author: number;
  /** Milliseconds since 1970, by the author's clock: later strokes lie above earlier ones. */
  startedMs: number;
  points: Point[];
}

const VERSION = 1;
const PER_UNIT = 4;
/** LEB128 of the largest number in here, a time, has eight bytes. */
const NUMBER_BYTES_MAX = 8;

export function encodeStroke({ pen, width, author, startedMs, points }: Stroke): Uint8Array {
  const bytes = [VERSION, pen, Math.min(Math.max(Math.round(width), 1), 255)];
  bytes.push(author & 255, (author >>> 8) & 255, (author >>> 16) & 255, author >>> 24);
  writeNumber(bytes, startedMs);
  let [beforeX, beforeY] = [0, 0];
  for (const point of points) {
    const [x, y] = [Math.round(point.x * PER_UNIT), Math.round(point.y * PER_UNIT)];
    writeNumber(bytes, zigzag(x - beforeX));
    writeNumber(bytes, zigzag(y - beforeY));
    [beforeX, beforeY] = [x, y];
  }
  return Uint8Array.from(bytes);
}

/** The stroke, or undefined when the bytes are none: anybody may write there. */
export function decodeStroke(bytes: Uint8Array): Stroke | undefined {
  const [version, pen = 0, width = 1] = bytes;
  if (version !== VERSION || bytes.length < 8) {
    return undefined;
  }
  const author = new DataView(bytes.buffer, bytes.byteOffset).getUint32(3, true);
  const reader = { bytes, at: 7 };
  const startedMs = readNumber(reader);
  const points: Point[] = [];
  let [x, y] = [0, 0];
  while (reader.at < bytes.length) {
    const [dx, dy] = [readNumber(reader), readNumber(reader)];
    if (dx === undefined || dy === undefined) {
      return undefined;
    }
    x += unzigzag(dx);
    y += unzigzag(dy);
    points.push({ x: x / PER_UNIT, y: y / PER_UNIT });
  }
  return startedMs === undefined ? undefined : { pen, width, author, startedMs, points };
}

/** Leaves out points that lie within `tolerance` of the line between others. */
export function simplify(points: readonly Point[], tolerance: number): Point[] {
  const kept = new Array<boolean>(points.length).fill(false);
  kept[0] = kept[points.length - 1] = true;
  // The spans that are still to be looked at; a recursion would be as deep as the line is long.
  const spans = [[0, points.length - 1]];
  for (let span = spans.pop(); span; span = spans.pop()) {
    const [first = 0, last = 0] = span;
    let [farthest, distanceMax] = [0, tolerance];
    for (let at = first + 1; at < last; at++) {
      const distance = distanceToLine(points[at]!, points[first]!, points[last]!);
      if (distance > distanceMax) {
        [farthest, distanceMax] = [at, distance];
      }
    }
    if (farthest > 0) {
      kept[farthest] = true;
      spans.push([first, farthest], [farthest, last]);
    }
  }
  return points.filter((_, at) => kept[at]);
}

/** Whether a stroke passes within `reach` of a point. */
export function passesNear({ points, width }: Stroke, place: Point, reach: number): boolean {
  const near = reach + width / 2;
  return points.some((point, at) => distanceToLine(place, point, points[at + 1] ?? point) <= near);
}

/** The distance of a point from the line between two others, ends included. */
function distanceToLine(place: Point, from: Point, to: Point): number {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const squared = dx * dx + dy * dy;
  const along = squared === 0 ? 0 : ((place.x - from.x) * dx + (place.y - from.y) * dy) / squared;
  const share = Math.min(Math.max(along, 0), 1);
  return Math.hypot(place.x - from.x - share * dx, place.y - from.y - share * dy);
}

function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

function unzigzag(value: number): number {
  return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
}

/** By division: shifts would cut a time to 32 bits. */
function writeNumber(bytes: number[], value: number): void {
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
}

function readNumber(reader: { bytes: Uint8Array; at: number }): number | undefined {
  let [value, scale] = [0, 1];
  for (let count = 0; count < NUMBER_BYTES_MAX; count++) {
    const byte = reader.bytes[reader.at++];
    if (byte === undefined) {
      return undefined;
    }
    value += (byte & 127) * scale;
    scale *= 128;
    if (byte < 128) {
      return value;
    }
  }
  return undefined;
}
