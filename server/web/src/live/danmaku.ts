// Comments that fly over the clip, or stand in its corner for those who want less motion.

import type { Frame } from "../frame/canvas.js";
import { prefersStill } from "../frame/dom.js";
import { FLIGHT_MS, type Flight, laneFor, leftOf } from "./lanes.js";

const FONT_SIZE = 20;
const LANE_HEIGHT = 30;
const TOP = 10;
const GAP = 24;
/** More in the air than this nobody could read. */
const FLIGHTS_MAX = 120;
const STILL_MAX = 4;

export class Danmaku {
  readonly #flights: Flight[] = [];
  readonly #waiting: { text: string; isOwn: boolean }[] = [];
  readonly #isStill = prefersStill();
  /** The time of the stage, which stands still while it is paused. */
  #nowMs = 0;

  add(text: string, isOwn: boolean): void {
    this.#waiting.push({ text, isOwn });
    if (this.#waiting.length > FLIGHTS_MAX) {
      this.#waiting.shift();
    }
  }

  draw(frame: Frame): void {
    const { context, width, height, elapsedMs } = frame;
    this.#nowMs += elapsedMs;
    context.font = `600 ${FONT_SIZE}px ui-sans-serif, system-ui, sans-serif`;
    context.textBaseline = "top";
    context.textAlign = "left";
    this.#start(context, width, height);
    this.#end();
    const lines = this.#isStill ? this.#flights.slice(-STILL_MAX) : this.#flights;
    lines.forEach((flight, at) => {
      const x = this.#isStill ? 14 : leftOf(flight, this.#nowMs, width);
      const y = this.#isStill ? height - (lines.length - at) * LANE_HEIGHT - 8 : topOf(flight);
      context.lineWidth = 4;
      context.lineJoin = "round";
      context.strokeStyle = "rgb(0 0 0 / 75%)";
      context.strokeText(flight.text, x, y);
      context.fillStyle = flight.isOwn ? "#ffe08a" : "#fff";
      context.fillText(flight.text, x, y);
    });
  }

  #start(context: CanvasRenderingContext2D, width: number, height: number): void {
    const lanes = Math.max(1, Math.floor((height * 0.75 - TOP) / LANE_HEIGHT));
    for (const { text, isOwn } of this.#waiting.splice(0)) {
      const textWidth = context.measureText(text).width;
      const lane = laneFor(this.#flights, lanes, textWidth, this.#nowMs, width, GAP);
      this.#flights.push({ text, isOwn, lane, width: textWidth, startMs: this.#nowMs });
    }
  }

  #end(): void {
    const over = this.#nowMs - FLIGHT_MS;
    while ((this.#flights[0]?.startMs ?? over) < over || this.#flights.length > FLIGHTS_MAX) {
      this.#flights.shift();
    }
  }
}

function topOf({ lane }: Flight): number {
  return TOP + lane * LANE_HEIGHT;
}
