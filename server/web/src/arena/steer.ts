// One tick of a mover, as the server computes it: what a page runs ahead of the server's answer.

import { type Obstacle, slide } from "./map.js";

/** What a player wants in one tick: the input row of arenas and worlds. */
export type Steering = {
  /** Direction and share of full speed, -1 to 1. */
  move_x: number;
  move_y: number;
  /** Where to look, in radians. */
  aim: number;
  buttons: number;
};

/** In units per second. The server does not tell it: whoever predicts keeps it. */
export interface Velocity {
  vx: number;
  vy: number;
}

/** Somebody who is steered. */
export interface Mover extends Velocity {
  x: number;
  y: number;
  yaw: number;
}

/** A fighter is a circle of this radius. */
export const FIGHTER_RADIUS = 16;

const SPEED_MAX = 320;
const ACCELERATION = 1600;
const FRICTION = 1000;
/** Metres per second of a player in a world. */
const WALK_SPEED = 12;
/** The distance from 1 to the next 32-bit float. */
const EPSILON = 2 ** -23;

const f32 = Math.fround;

/** A fighter of an arena: speeds up, slides along boxes, and coasts to a stop. */
export function steer(
  mover: Mover,
  input: Steering,
  tickSeconds: number,
  obstacles: readonly Obstacle[],
): void {
  const seconds = f32(tickSeconds);
  mover.yaw = input.aim;
  const [dirX, dirY] = clampLength(f32(input.move_x), f32(input.move_y), 1);
  const wanted: Pair = [f32(dirX * SPEED_MAX), f32(dirY * SPEED_MAX)];
  const rate = wanted[0] === 0 && wanted[1] === 0 ? FRICTION : ACCELERATION;
  const [changeX, changeY] = clampLength(
    f32(wanted[0] - mover.vx),
    f32(wanted[1] - mover.vy),
    f32(rate * seconds),
  );
  mover.vx = f32(mover.vx + changeX);
  mover.vy = f32(mover.vy + changeY);
  if (mover.vx === 0 && mover.vy === 0) {
    return;
  }
  const from = { x: f32(mover.x), y: f32(mover.y) };
  const step = { x: f32(mover.vx * seconds), y: f32(mover.vy * seconds) };
  const to = slide(obstacles, from, step, FIGHTER_RADIUS);
  // Whoever bumps into something loses the speed towards it and keeps the speed along it.
  if (Math.abs(f32(to.x - f32(from.x + step.x))) > EPSILON) {
    mover.vx = 0;
  }
  if (Math.abs(f32(to.y - f32(from.y + step.y))) > EPSILON) {
    mover.vy = 0;
  }
  mover.x = to.x;
  mover.y = to.y;
}

/** A player of a world: walks at once and stops at once. Leaps are the server's to decide. */
export function walk(mover: Mover, input: Steering, tickSeconds: number, halfExtent: number): void {
  const [x, y] = [f32(input.move_x), f32(input.move_y)];
  const length = f32(Math.sqrt(f32(f32(x * x) + f32(y * y))));
  const step = f32(f32(WALK_SPEED * f32(tickSeconds)) / Math.max(length, 1));
  const go = (at: number, share: number) =>
    Math.min(Math.max(f32(f32(at) + f32(share * step)), -halfExtent), halfExtent);
  mover.x = go(mover.x, x);
  mover.y = go(mover.y, y);
  mover.yaw = input.aim;
}

type Pair = [number, number];

/** The same direction, shortened to `lengthMax` if it is longer. */
function clampLength(x: number, y: number, lengthMax: number): Pair {
  const squared = f32(f32(x * x) + f32(y * y));
  if (squared <= f32(lengthMax * lengthMax)) {
    return [x, y];
  }
  const factor = f32(lengthMax / f32(Math.sqrt(squared)));
  return [f32(x * factor), f32(y * factor)];
}
