// From places in the room to places on the canvas.

import type { Body, GameType } from "./game.js";

/** Units of the room along the longer side of the canvas. */
const SPAN = { arena: 1150, world: 330 };
const SCALE_MIN = { arena: 0.62, world: 2.2 };
/** A watched entity is caught up with by this share per second, as an exponent. */
const FOLLOW_PER_SECOND = 6;

export class Camera {
  x = 0;
  y = 0;
  scale = 1;
  #width = 0;
  #height = 0;

  resize(width: number, height: number, type: GameType): void {
    this.#width = width;
    this.#height = height;
    this.scale = Math.max(Math.max(width, height) / SPAN[type], SCALE_MIN[type]);
  }

  /** Looks at the own mover, which moves smoothly by itself. */
  lookAt(place: Body): void {
    this.x = place.x;
    this.y = place.y;
  }

  /** Stays over the room: no more than `margin` beyond its edges is shown, if it is that large. */
  keepWithin(halfExtent: number, margin: number): void {
    const keep = (at: number, pixels: number) => {
      const reach = Math.max(halfExtent + margin - pixels / 2 / this.scale, 0);
      return Math.min(Math.max(at, -reach), reach);
    };
    this.x = keep(this.x, this.#width);
    this.y = keep(this.y, this.#height);
  }

  /** Glides towards somebody who is watched. */
  follow(place: Body, elapsedMs: number): void {
    const share = 1 - Math.exp((-FOLLOW_PER_SECOND * elapsedMs) / 1000);
    this.x += (place.x - this.x) * share;
    this.y += (place.y - this.y) * share;
  }

  /** On the canvas, in its pixels. */
  toCanvas(place: { x: number; y: number }): { x: number; y: number } {
    return {
      x: this.#width / 2 + (place.x - this.x) * this.scale,
      y: this.#height / 2 + (place.y - this.y) * this.scale,
    };
  }

  /** What the canvas shows, in units of the room, and `margin` around it. */
  bounds(margin = 0): { minX: number; minY: number; maxX: number; maxY: number } {
    const [halfWidth, halfHeight] = [
      this.#width / 2 / this.scale + margin,
      this.#height / 2 / this.scale + margin,
    ];
    return {
      minX: this.x - halfWidth,
      minY: this.y - halfHeight,
      maxX: this.x + halfWidth,
      maxY: this.y + halfHeight,
    };
  }
}
