// A board as a picture to keep.

import { noteColour, palette } from "../frame/palette.js";
import type { Note } from "./description.js";
import { NOTE_SIZE } from "./notes.js";
import { drawStroke } from "./paint.js";
import type { Drawn } from "./sheet.js";

/** Around what was drawn, in units of the board. */
const MARGIN = 40;
/** Longer sides are more than browsers like to make a picture of. */
const SIDE_MAX = 8_192;
const LINE_HEIGHT = 20;

interface Box {
  minX: number;
  minY: number;
  maxX: number;
  maxY: number;
}

/** Draws everything, wherever it is, and hands the file to the browser. */
export async function savePicture(
  strokes: readonly Drawn[],
  notes: Note[],
  name: string,
): Promise<void> {
  const box = boxAround(strokes, notes);
  if (!box) {
    throw new Error("There is nothing on the board yet.");
  }
  const [width, height] = [box.maxX - box.minX, box.maxY - box.minY];
  const scale = Math.min(2, SIDE_MAX / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.ceil(width * scale);
  canvas.height = Math.ceil(height * scale);
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  context.fillStyle = palette().paper;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  context.translate(-box.minX, -box.minY);
  for (const drawn of strokes) {
    drawStroke(context, drawn, palette().isDark);
  }
  for (const note of notes) {
    drawNote(context, note);
  }
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) {
    throw new Error("The browser could not make a picture of this size.");
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name.replace(/[^\p{L}\p{N}_-]+/gu, "-") || "board"}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function boxAround(strokes: readonly Drawn[], notes: Note[]): Box | undefined {
  const box = { minX: Infinity, minY: Infinity, maxX: -Infinity, maxY: -Infinity };
  const add = (x: number, y: number) => {
    box.minX = Math.min(box.minX, x - MARGIN);
    box.minY = Math.min(box.minY, y - MARGIN);
    box.maxX = Math.max(box.maxX, x + MARGIN);
    box.maxY = Math.max(box.maxY, y + MARGIN);
  };
  for (const { stroke } of strokes) {
    for (const { x, y } of stroke.points) {
      add(x, y);
    }
  }
  for (const { x, y } of notes) {
    add(x, y);
    add(x + NOTE_SIZE.width, y + NOTE_SIZE.height);
  }
  return box.minX < box.maxX ? box : undefined;
}

function drawNote(context: CanvasRenderingContext2D, { x, y, text, colour }: Note): void {
  const { ink, edge } = palette();
  context.fillStyle = noteColour(colour);
  context.fillRect(x, y, NOTE_SIZE.width, NOTE_SIZE.height);
  context.strokeStyle = edge;
  context.lineWidth = 1;
  context.strokeRect(x, y, NOTE_SIZE.width, NOTE_SIZE.height);
  context.fillStyle = ink;
  context.font = "15px ui-sans-serif, system-ui, sans-serif";
  context.textBaseline = "top";
  let top = y + 32;
  for (const line of wrap(context, text, NOTE_SIZE.width - 20)) {
    context.fillText(line, x + 10, top);
    top += LINE_HEIGHT;
  }
}

/** Lines of at most so many units, broken between words. */
function wrap(context: CanvasRenderingContext2D, text: string, width: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split("\n")) {
    let line = "";
    for (const word of paragraph.split(" ")) {
      const longer = line ? `${line} ${word}` : word;
      if (line && context.measureText(longer).width > width) {
        lines.push(line);
        line = word;
      } else {
        line = longer;
      }
    }
    lines.push(line);
  }
  return lines;
}
