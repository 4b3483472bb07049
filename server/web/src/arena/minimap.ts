// The whole room, small: boxes, everybody this page is sent, what the canvas shows, and in a room
// that is too large to send whole, the cells that are in view.

import { fit } from "../frame/canvas.js";
import { hue, palette } from "../frame/palette.js";
import type { Camera } from "./camera.js";
import type { Game } from "./game.js";

/** How far cells around the own one are sent, by how often; of rooms with interest. */
export interface Rings {
  cellSize: number;
  distances: number[];
}

export class Minimap {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #rings: Rings | undefined;

  constructor(canvas: HTMLCanvasElement, rings: Rings | undefined) {
    const context = canvas.getContext("2d");
    if (!context) {
      throw new Error("this browser has no canvas to draw on");
    }
    this.#canvas = canvas;
    this.#context = context;
    this.#rings = rings;
  }

  draw(game: Game, camera: Camera): void {
    const context = this.#context;
    const { width, height } = fit(this.#canvas, context);
    const { paper, edge, ink, accent } = palette();
    const share = width / (game.halfExtent * 2);
    const at = (value: number) => (value + game.halfExtent) * share;
    context.fillStyle = paper;
    context.fillRect(0, 0, width, height);
    this.#drawCells(game, camera, at);
    context.fillStyle = edge;
    for (const { minX, minY, maxX, maxY } of game.obstacles) {
      context.fillRect(at(minX), at(minY), (maxX - minX) * share, (maxY - minY) * share);
    }
    for (const [entity, place] of game.room.state.body) {
      if (!game.isMover(entity) || !game.isAlive(entity)) {
        continue;
      }
      const isOwn = entity === game.room.entity;
      const radius = isOwn ? 3.2 : game.type === "arena" ? 2.4 : 1.2;
      context.fillStyle = isOwn ? accent : hue(game.room.state.look.get(entity)?.colour ?? 0);
      context.beginPath();
      context.arc(at(place.x), at(place.y), radius, 0, Math.PI * 2);
      context.fill();
    }
    const { minX, minY, maxX, maxY } = camera.bounds();
    context.strokeStyle = ink;
    context.lineWidth = 1;
    context.strokeRect(at(minX), at(minY), (maxX - minX) * share, (maxY - minY) * share);
  }

  /** The grid, and on it the cells in view: the nearer, the more often, the darker. */
  #drawCells(game: Game, { x, y }: Camera, at: (value: number) => number): void {
    if (!this.#rings) {
      return;
    }
    const context = this.#context;
    const { cellSize, distances } = this.#rings;
    const { edge, accent } = palette();
    const side = game.halfExtent * 2;
    const cells = Math.ceil(side / cellSize);
    const pixels = at(cellSize) - at(0);
    const cellOf = (value: number) => Math.floor((value + game.halfExtent) / cellSize);
    context.fillStyle = accent;
    for (const distance of distances) {
      const [minX, minY] = [Math.max(cellOf(x) - distance, 0), Math.max(cellOf(y) - distance, 0)];
      const maxX = Math.min(cellOf(x) + distance + 1, cells);
      const maxY = Math.min(cellOf(y) + distance + 1, cells);
      context.globalAlpha = 0.2;
      context.fillRect(
        minX * pixels,
        minY * pixels,
        (maxX - minX) * pixels,
        (maxY - minY) * pixels,
      );
    }
    context.globalAlpha = 0.3;
    context.strokeStyle = edge;
    context.lineWidth = 0.5;
    context.beginPath();
    for (let line = 0; line <= cells; line++) {
      context.moveTo(line * pixels, 0);
      context.lineTo(line * pixels, cells * pixels);
      context.moveTo(0, line * pixels);
      context.lineTo(cells * pixels, line * pixels);
    }
    context.stroke();
    context.globalAlpha = 1;
  }
}
