// What flashes for a moment: hits, the end of a fighter, the own shot before the server shows it.

import type { Frame } from "../frame/canvas.js";
import { prefersStill } from "../frame/dom.js";
import { hue, palette } from "../frame/palette.js";
import type { Camera } from "./camera.js";

interface Burst {
  x: number;
  y: number;
  colour: number;
  startMs: number;
}

const FLASH_MS = 140;
const BURST_MS = 520;
const BURSTS_MAX = 24;
const RAYS = 10;

export class Effects {
  readonly #hits = new Map<number, number>();
  readonly #bursts: Burst[] = [];
  readonly #isStill = prefersStill();

  hit(entity: number): void {
    this.#hits.set(entity, performance.now());
  }

  /** Whether somebody was hit a moment ago. */
  isFlashing(entity: number, nowMs: number): boolean {
    return nowMs - (this.#hits.get(entity) ?? -FLASH_MS) < FLASH_MS;
  }

  burst(place: { x: number; y: number }, colour: number): void {
    if (this.#isStill) {
      return;
    }
    this.#bursts.push({ x: place.x, y: place.y, colour, startMs: performance.now() });
    if (this.#bursts.length > BURSTS_MAX) {
      this.#bursts.shift();
    }
  }

  draw({ context, nowMs }: Frame, camera: Camera): void {
    while (this.#bursts[0] && nowMs - this.#bursts[0].startMs > BURST_MS) {
      this.#bursts.shift();
    }
    for (const burst of this.#bursts) {
      const share = Math.min(Math.max((nowMs - burst.startMs) / BURST_MS, 0), 1);
      const { x, y } = camera.toCanvas(burst);
      const [inner, outer] = [share * 34 * camera.scale, (12 + share * 34) * camera.scale];
      context.strokeStyle = share < 0.2 ? palette().ink : hue(burst.colour);
      context.globalAlpha = 1 - share;
      context.lineWidth = 3;
      context.beginPath();
      for (let ray = 0; ray < RAYS; ray++) {
        const angle = (ray / RAYS) * Math.PI * 2;
        context.moveTo(x + Math.cos(angle) * inner, y + Math.sin(angle) * inner);
        context.lineTo(x + Math.cos(angle) * outer, y + Math.sin(angle) * outer);
      }
      context.stroke();
      context.globalAlpha = 1;
    }
  }
}
