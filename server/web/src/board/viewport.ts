// Which part of a board is on the screen, and how large.

import type { Point } from "./stroke.js";

export const ZOOM_MIN = 0.1;
export const ZOOM_MAX = 5;

export class Viewport {
  /** The place of the board in the middle of the screen. */
  x = 0;
  y = 0;
  zoom = 1;
  width = 0;
  height = 0;
  /** Grows when anything above changes. */
  version = 0;

  resize(width: number, height: number): void {
    if (width !== this.width || height !== this.height) {
      [this.width, this.height] = [width, height];
      this.version += 1;
    }
  }

  toScreen({ x, y }: Point): Point {
    return {
      x: this.width / 2 + (x - this.x) * this.zoom,
      y: this.height / 2 + (y - this.y) * this.zoom,
    };
  }

  toBoard({ x, y }: Point): Point {
    return {
      x: this.x + (x - this.width / 2) / this.zoom,
      y: this.y + (y - this.height / 2) / this.zoom,
    };
  }

  /** Moves the board with a hand that goes so many pixels. */
  panBy(dx: number, dy: number): void {
    this.lookAt({ x: this.x - dx / this.zoom, y: this.y - dy / this.zoom });
  }

  lookAt({ x, y }: Point): void {
    [this.x, this.y] = [x, y];
    this.version += 1;
  }

  /** Zooms by a factor; what lies under `at`, a place of the screen, stays there. */
  zoomAt(at: Point, factor: number): void {
    const under = this.toBoard(at);
    this.zoom = Math.min(Math.max(this.zoom * factor, ZOOM_MIN), ZOOM_MAX);
    const moved = this.toBoard(at);
    this.lookAt({ x: this.x + under.x - moved.x, y: this.y + under.y - moved.y });
  }
}
