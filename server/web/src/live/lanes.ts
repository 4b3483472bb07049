// Where flying comments go: each takes the highest lane on which it catches up with nobody.

/** How long a comment takes from one side to the other. */
export const FLIGHT_MS = 8_000;

/** A comment in the air. */
export interface Flight {
  text: string;
  isOwn: boolean;
  lane: number;
  width: number;
  startMs: number;
}

/** The left edge of a comment; below minus its width it has flown past. */
export function leftOf(flight: Flight, nowMs: number, stageWidth: number): number {
  const share = (nowMs - flight.startMs) / FLIGHT_MS;
  return stageWidth - share * (stageWidth + flight.width);
}

/**
 * The lane for a comment that starts now; the emptiest when all are taken. `gap` is kept between
 * two on one lane, in pixels.
 */
export function laneFor(
  flights: readonly Flight[],
  lanesCount: number,
  width: number,
  nowMs: number,
  stageWidth: number,
  gap: number,
): number {
  let [best, mostRoom] = [0, Number.NEGATIVE_INFINITY];
  for (let lane = 0; lane < lanesCount; lane++) {
    const others = flights.filter((flight) => flight.lane === lane);
    const rooms = others.map((other) => roomBehind(other, width, nowMs, stageWidth));
    const room = Math.min(Number.POSITIVE_INFINITY, ...rooms);
    if (room >= gap) {
      return lane;
    }
    if (room > mostRoom) {
      [best, mostRoom] = [lane, room];
    }
  }
  return best;
}

/** The least distance to the comment before, from now until that one is out of sight. */
function roomBehind(other: Flight, width: number, nowMs: number, stageWidth: number): number {
  const rightNow = leftOf(other, nowMs, stageWidth) + other.width;
  // Longer comments are faster: what counts is where this one is when the other is gone.
  const left = Math.max(other.startMs + FLIGHT_MS - nowMs, 0) / FLIGHT_MS;
  const atTheEnd = stageWidth - left * (stageWidth + width);
  return Math.min(stageWidth - rightNow, atTheEnd);
}
