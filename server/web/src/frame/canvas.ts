// A canvas as sharp as the screen, and a loop that draws it while somebody looks.

/** What one frame is drawn with: sizes in CSS pixels, times in milliseconds. */
export interface Frame {
  context: CanvasRenderingContext2D;
  width: number;
  height: number;
  nowMs: number;
  /** Since the frame before, at most a tenth of a second. */
  elapsedMs: number;
}

const ELAPSED_MAX_MS = 100;
/** More pixels than this per pixel of CSS cost time and show nothing. */
const RATIO_MAX = 2;

/** Calls `draw` for each frame of the screen; browsers leave out those of hidden pages. */
export function drawFrames(canvas: HTMLCanvasElement, draw: (frame: Frame) => void): void {
  const context = canvas.getContext("2d");
  if (!context) {
    throw new Error("this browser has no canvas to draw on");
  }
  let beforeMs = performance.now();
  const next = (nowMs: number) => {
    requestAnimationFrame(next);
    const { width, height } = fit(canvas, context);
    const elapsedMs = Math.min(Math.max(nowMs - beforeMs, 0), ELAPSED_MAX_MS);
    beforeMs = nowMs;
    if (width > 0 && height > 0) {
      draw({ context, width, height, nowMs, elapsedMs });
    }
  };
  requestAnimationFrame(next);
}

/** Gives a canvas as many pixels as it covers, and lets a unit of its context be one of CSS. */
export function fit(
  canvas: HTMLCanvasElement,
  context: CanvasRenderingContext2D,
): { width: number; height: number } {
  const ratio = Math.min(devicePixelRatio || 1, RATIO_MAX);
  const { clientWidth: width, clientHeight: height } = canvas;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height };
}
