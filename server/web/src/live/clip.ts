// The clip: a cloth that weaves itself, one pattern after the other. It is computed from the
// server's time alone, so everybody sees the same moment of it.

import type { Frame } from "../frame/canvas.js";

const THREADS = 72;
const ROWS = 36;
/** From an empty loom to a finished cloth, with a moment to look at it. */
const CLOTH_MS = 21_000;
const WOVEN_AT = 0.86;

/** Each cloth: the colours of its threads, and where the weft lies above the warp. */
const cloths: { warp: string; weft: string; isAbove(x: number, y: number): boolean }[] = [
  { warp: "#e7dcc4", weft: "#0d6b62", isAbove: (x, y) => (x + y) % 4 < 2 },
  { warp: "#27343a", weft: "#d8a24a", isAbove: (x, y) => (Math.abs((x % 16) - 8) + y) % 8 < 3 },
  { warp: "#f0e6d8", weft: "#a33b2f", isAbove: (x, y) => ((x >> 2) ^ (y >> 2)) % 3 === 0 },
  { warp: "#1e2a44", weft: "#9ec5d8", isAbove: (x, y) => (x * x + y * y) % 13 < 6 },
  {
    warp: "#dfe5dc",
    weft: "#3f5d8a",
    isAbove: (x, y) => Math.abs((x % 14) - 7) + Math.abs((y % 14) - 7) < 6 || (x + y) % 5 === 0,
  },
];

/** Draws the clip as it is at a moment of the server's clock. */
export function drawClip({ context, width, height }: Frame, serverMs: number): void {
  const number = Math.floor(serverMs / CLOTH_MS);
  const share = (serverMs % CLOTH_MS) / CLOTH_MS;
  const { warp, weft, isAbove } = cloths[number % cloths.length] as (typeof cloths)[number];
  context.fillStyle = "#11181a";
  context.fillRect(0, 0, width, height);
  const [cell, row] = [width / THREADS, height / ROWS];
  const woven = Math.min(share / WOVEN_AT, 1) * ROWS;
  context.fillStyle = warp;
  for (let thread = 0; thread < THREADS; thread++) {
    context.fillRect(thread * cell + cell * 0.12, 0, cell * 0.76, height);
  }
  // Threads that wait are in the shade.
  context.fillStyle = "rgb(17 24 26 / 62%)";
  context.fillRect(0, 0, width, height - Math.floor(woven) * row);
  const isRight = Math.floor(woven) % 2 === 0;
  const along = woven % 1;
  context.fillStyle = weft;
  for (let done = 0; done <= woven && done < ROWS; done++) {
    const isLast = done === Math.floor(woven);
    const reach = isLast ? along * THREADS : THREADS;
    const [from, to] = isLast && !isRight ? [THREADS - reach, THREADS] : [0, reach];
    const top = height - (done + 1) * row;
    // Where the weft lies above several threads in a row, it is one piece.
    let start = -1;
    for (let thread = Math.floor(from); thread <= to; thread++) {
      if (thread < to && isAbove(thread, done)) {
        start = start < 0 ? thread : start;
      } else if (start >= 0) {
        context.fillRect(start * cell, top + row * 0.1, (thread - start) * cell, row * 0.8);
        start = -1;
      }
    }
  }
  if (woven < ROWS) {
    const x = (isRight ? along : 1 - along) * width;
    drawShuttle(context, x, height - (Math.floor(woven) + 0.5) * row, row);
  }
}

function drawShuttle(context: CanvasRenderingContext2D, x: number, y: number, size: number): void {
  context.fillStyle = "#f6f1e6";
  context.beginPath();
  context.ellipse(x, y, size * 1.9, size * 0.55, 0, 0, Math.PI * 2);
  context.fill();
  context.fillStyle = "#11181a";
  context.beginPath();
  context.ellipse(x, y, size * 0.9, size * 0.2, 0, 0, Math.PI * 2);
  context.fill();
}
