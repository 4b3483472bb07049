// Draws a board: strokes that lie still once, on a layer of their own, and what moves every frame.

import { fit } from "../frame/canvas.js";
import { palette } from "../frame/palette.js";
import { colourOf } from "./pens.js";
import type { Drawn, Sheet } from "./sheet.js";
import type { Viewport } from "./viewport.js";

/** The sheet has a dot every so many units. */
const DOTS = 40;

export class Painter {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  /** What lies still, as large as the canvas. */
  readonly #layer = document.createElement("canvas");
  readonly #layerContext: CanvasRenderingContext2D;
  #layerKey = "";
  #layerCount = 0;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#context = contextOf(canvas);
    this.#layerContext = contextOf(this.#layer);
  }

  /** One frame; `own` is what this visitor draws this moment. */
  paint(viewport: Viewport, sheet: Sheet | undefined, own: Drawn[]): void {
    const context = this.#context;
    const { width, height } = fit(this.#canvas, context);
    viewport.resize(width, height);
    context.fillStyle = palette().paper;
    context.fillRect(0, 0, width, height);
    drawDots(context, viewport);
    if (!sheet) {
      return;
    }
    this.#paintLayer(viewport, sheet);
    context.drawImage(this.#layer, 0, 0, width, height);
    context.save();
    enter(context, viewport);
    for (const drawn of [...sheet.pending, ...sheet.others.values(), ...own]) {
      drawStroke(context, drawn, palette().isDark);
    }
    context.restore();
  }

  /** Adds strokes that are new on top; paints all anew when anything else changed. */
  #paintLayer(viewport: Viewport, sheet: Sheet): void {
    const layer = this.#layer;
    const { width, height } = this.#canvas;
    const key = `${viewport.version} ${sheet.version} ${width} ${height} ${palette().isDark}`;
    const { drawn } = sheet;
    if (key === this.#layerKey && drawn.length === this.#layerCount) {
      return;
    }
    const context = this.#layerContext;
    const isSame = key === this.#layerKey;
    if (!isSame) {
      // Setting a size empties a canvas.
      layer.width = width;
      layer.height = height;
    }
    const ratio = width / Math.max(viewport.width, 1);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    enter(context, viewport);
    for (const stroke of isSame ? drawn.slice(this.#layerCount) : drawn) {
      drawStroke(context, stroke, palette().isDark);
    }
    this.#layerKey = key;
    this.#layerCount = drawn.length;
  }
}

/** Draws a stroke in units of the board. */
export function drawStroke(
  context: CanvasRenderingContext2D,
  { stroke, path }: Drawn,
  isDark: boolean,
): void {
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = stroke.width;
  context.strokeStyle = colourOf(stroke.pen, isDark);
  context.stroke(path);
}

/** From here on, units are those of the board. */
function enter(context: CanvasRenderingContext2D, { x, y, zoom, width, height }: Viewport): void {
  context.translate(width / 2, height / 2);
  context.scale(zoom, zoom);
  context.translate(-x, -y);
}

function drawDots(context: CanvasRenderingContext2D, viewport: Viewport): void {
  // Far out, every fifth dot is enough.
  const step = DOTS * (viewport.zoom < 0.4 ? 5 : 1);
  if (step * viewport.zoom < 8) {
    return;
  }
  const from = viewport.toBoard({ x: 0, y: 0 });
  const to = viewport.toBoard({ x: viewport.width, y: viewport.height });
  context.fillStyle = palette().rule;
  for (let y = Math.ceil(from.y / step) * step; y < to.y; y += step) {
    for (let x = Math.ceil(from.x / step) * step; x < to.x; x += step) {
      const place = viewport.toScreen({ x, y });
      context.fillRect(place.x - 1, place.y - 1, 2, 2);
    }
  }
}

function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext("2d");
  if (!context) {
    throw new Error("this browser has no canvas to draw on");
  }
  return context;
}
