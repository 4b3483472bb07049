// The room as its players see it, from the ground up.

import type { Frame } from "../frame/canvas.js";
import { prefersStill } from "../frame/dom.js";
import { hue, palette } from "../frame/palette.js";
import type { Camera } from "./camera.js";
import { STICK_REACH, type Stick } from "./controls.js";
import type { Effects } from "./effects.js";
import { type Body, type Game, kinds } from "./game.js";

/** The ground has a line every so many units; in a world that is the side of a cell. */
const LINES = { arena: 128, world: 64 };
const HP_FULL = 100;

const isStill = prefersStill();

/** Draws one frame. `aim` is where the own mover looks this moment. */
export function drawGame(
  game: Game,
  frame: Frame,
  camera: Camera,
  effects: Effects,
  aim: number | undefined,
): void {
  drawGround(game, frame, camera);
  const things: [number, Body][] = [];
  const movers: [number, Body][] = [];
  const { minX, minY, maxX, maxY } = camera.bounds(40);
  for (const entity of game.room.state.look.keys()) {
    const place = game.placeOf(entity);
    if (place && place.x > minX && place.x < maxX && place.y > minY && place.y < maxY) {
      (game.isMover(entity) ? movers : things).push([entity, place]);
    }
  }
  for (const [entity, place] of things) {
    drawThing(game, frame, camera, entity, place);
  }
  for (const [entity, place] of movers) {
    if (game.isAlive(entity)) {
      const yaw = entity === game.room.entity ? (aim ?? place.yaw) : place.yaw;
      const isFlashing = effects.isFlashing(entity, frame.nowMs);
      drawMover(game, frame, camera, entity, { x: place.x, y: place.y, yaw }, isFlashing);
    }
  }
  effects.draw(frame, camera);
}

/** The sticks under a player's thumbs. */
export function drawSticks({ context }: Frame, sticks: Iterable<Stick>): void {
  const { ink, accent } = palette();
  for (const { role, startX, startY, x, y } of sticks) {
    const length = Math.hypot(x - startX, y - startY);
    const share = Math.min(1, STICK_REACH / Math.max(length, 1));
    context.lineWidth = 2;
    context.globalAlpha = 0.35;
    context.strokeStyle = ink;
    circle(context, startX, startY, STICK_REACH);
    context.stroke();
    context.globalAlpha = 0.7;
    context.fillStyle = role === "move" ? ink : accent;
    circle(context, startX + (x - startX) * share, startY + (y - startY) * share, 22);
    context.fill();
    context.globalAlpha = 1;
  }
}

function drawGround(game: Game, { context, width, height }: Frame, camera: Camera): void {
  const { halfExtent, obstacles } = game;
  const { paper, sunk, rule, edge } = palette();
  context.fillStyle = sunk;
  context.fillRect(0, 0, width, height);
  const from = camera.toCanvas({ x: -halfExtent, y: -halfExtent });
  const side = halfExtent * 2 * camera.scale;
  context.fillStyle = paper;
  context.fillRect(from.x, from.y, side, side);
  drawLines(game, context, camera, rule);
  context.lineWidth = 3;
  context.strokeStyle = edge;
  context.strokeRect(from.x, from.y, side, side);
  context.lineWidth = 2;
  for (const { minX, minY, maxX, maxY } of obstacles) {
    const { x, y } = camera.toCanvas({ x: minX, y: minY });
    context.fillStyle = rule;
    context.beginPath();
    context.roundRect(x, y, (maxX - minX) * camera.scale, (maxY - minY) * camera.scale, 6);
    context.fill();
    context.stroke();
  }
}

function drawLines(
  { type, halfExtent }: Game,
  context: CanvasRenderingContext2D,
  camera: Camera,
  colour: string,
): void {
  const step = LINES[type];
  const bounds = camera.bounds();
  const within = (value: number) => Math.min(Math.max(value, -halfExtent), halfExtent);
  const low = camera.toCanvas({ x: within(bounds.minX), y: within(bounds.minY) });
  const high = camera.toCanvas({ x: within(bounds.maxX), y: within(bounds.maxY) });
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  for (
    let at = Math.ceil(within(bounds.minX) / step) * step;
    at < within(bounds.maxX);
    at += step
  ) {
    const { x } = camera.toCanvas({ x: at, y: 0 });
    context.moveTo(x, low.y);
    context.lineTo(x, high.y);
  }
  for (
    let at = Math.ceil(within(bounds.minY) / step) * step;
    at < within(bounds.maxY);
    at += step
  ) {
    const { y } = camera.toCanvas({ x: 0, y: at });
    context.moveTo(low.x, y);
    context.lineTo(high.x, y);
  }
  context.stroke();
}

/** Shots and what there is to collect. */
function drawThing(
  game: Game,
  { context, nowMs }: Frame,
  camera: Camera,
  entity: number,
  place: Body,
): void {
  const look = game.room.state.look.get(entity);
  const { x, y } = camera.toCanvas(place);
  const colour = hue(look?.colour ?? 0);
  if (look?.kind === kinds.arena.projectile) {
    const length = 20 * camera.scale;
    context.strokeStyle = colour;
    context.lineCap = "round";
    context.lineWidth = 5 * camera.scale;
    context.beginPath();
    context.moveTo(x - Math.cos(place.yaw) * length, y - Math.sin(place.yaw) * length);
    context.lineTo(x, y);
    context.stroke();
    return;
  }
  const breath = isStill ? 1 : 1 + 0.12 * Math.sin(nowMs / 300 + entity);
  const reach = 8.5 * camera.scale * breath;
  context.fillStyle = palette().warn;
  context.beginPath();
  context.moveTo(x, y - reach);
  context.lineTo(x + reach, y);
  context.lineTo(x, y + reach);
  context.lineTo(x - reach, y);
  context.fill();
}

function drawMover(
  game: Game,
  { context }: Frame,
  camera: Camera,
  entity: number,
  place: Body,
  isFlashing: boolean,
): void {
  const { room, type } = game;
  const { ink, paper, accent } = palette();
  const look = room.state.look.get(entity);
  const isOwn = entity === room.entity;
  const profile = room.state.profile.get(entity);
  const { x, y } = camera.toCanvas(place);
  const radius = Math.max(game.radius * camera.scale, 4);
  context.globalAlpha = profile?.away ? 0.4 : 1;
  context.strokeStyle = ink;
  context.lineWidth = Math.max(radius * 0.36, 2);
  context.lineCap = "round";
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + Math.cos(place.yaw) * radius * 1.5, y + Math.sin(place.yaw) * radius * 1.5);
  context.stroke();
  context.fillStyle = isFlashing ? ink : hue(look?.colour ?? 0);
  circle(context, x, y, radius);
  context.fill();
  if (isOwn) {
    context.lineWidth = 3;
    context.strokeStyle = accent;
    circle(context, x, y, radius + 5);
    context.stroke();
  }
  const name = profile?.name;
  if (name && !isOwn) {
    context.font = "600 12px ui-sans-serif, system-ui, sans-serif";
    context.textAlign = "center";
    context.lineWidth = 3;
    context.strokeStyle = paper;
    context.fillStyle = ink;
    const label = profile?.away ? `${name} (away)` : name;
    context.strokeText(label, x, y - radius - 13);
    context.fillText(label, x, y - radius - 13);
  }
  const hp = type === "arena" ? (room.state.vitals.get(entity)?.hp ?? HP_FULL) : HP_FULL;
  if (hp < HP_FULL && !isOwn) {
    drawHealth(context, x, y - radius - 8, hp);
  }
  context.globalAlpha = 1;
}

function drawHealth(context: CanvasRenderingContext2D, x: number, y: number, hp: number): void {
  const { rule, good, bad } = palette();
  const width = 34;
  context.fillStyle = rule;
  context.fillRect(x - width / 2, y, width, 4);
  context.fillStyle = hp > 40 ? good : bad;
  context.fillRect(x - width / 2, y, (width * hp) / HP_FULL, 4);
}

function circle(context: CanvasRenderingContext2D, x: number, y: number, radius: number): void {
  context.beginPath();
  context.arc(x, y, radius, 0, Math.PI * 2);
}
