// The visitor's hand: a pen, an eraser, two fingers or a wheel. It knows pointers and pixels, and
// hands on points of the board.

import { isTyping } from "../frame/dom.js";
import type { Point } from "./stroke.js";
import type { Viewport } from "./viewport.js";

export type Tool = "draw" | "erase" | "note" | "move";

/** What the hand does. Places are the board's. */
export interface HandHandlers {
  onHover(place: Point | undefined): void;
  onStart(place: Point): void;
  onDraw(places: Point[]): void;
  onEnd(): void;
  /** A second finger came: it was no stroke. */
  onCancel(): void;
}

const KEY_PAN = 60;
const ZOOM_STEP = 1.2;

export class Hand {
  tool: Tool = "draw";
  readonly #canvas: HTMLCanvasElement;
  readonly #viewport: Viewport;
  readonly #handlers: HandHandlers;
  /** Fingers or the mouse on the sheet, where they are on the canvas. */
  readonly #down = new Map<number, Point>();
  #doing: "nothing" | "draw" | "pan" = "nothing";
  #isSpaceDown = false;

  constructor(canvas: HTMLCanvasElement, viewport: Viewport, handlers: HandHandlers) {
    this.#canvas = canvas;
    this.#viewport = viewport;
    this.#handlers = handlers;
    canvas.addEventListener("pointerdown", (event) => this.#handleDown(event));
    canvas.addEventListener("pointermove", (event) => this.#handleMove(event));
    canvas.addEventListener("pointerup", (event) => this.#handleUp(event));
    canvas.addEventListener("pointercancel", (event) => this.#handleUp(event));
    canvas.addEventListener("pointerleave", () => handlers.onHover(undefined));
    canvas.addEventListener("wheel", (event) => this.#handleWheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#handleKey(event));
    addEventListener("keydown", (event) => {
      this.#isSpaceDown ||= event.code === "Space" && !isTyping(event.target);
    });
    addEventListener("keyup", (event) => {
      this.#isSpaceDown &&= event.code !== "Space";
    });
  }

  zoom(factor: number): void {
    const { width, height } = this.#viewport;
    this.#viewport.zoomAt({ x: width / 2, y: height / 2 }, factor);
  }

  #handleDown(event: PointerEvent): void {
    const place = this.#place(event);
    this.#canvas.setPointerCapture(event.pointerId);
    this.#canvas.focus({ preventScroll: true });
    this.#down.set(event.pointerId, place);
    const isPan = this.tool === "move" || event.button === 1 || this.#isSpaceDown;
    if (this.#down.size > 1) {
      if (this.#doing === "draw") {
        this.#handlers.onCancel();
      }
      this.#doing = "pan";
    } else if (isPan) {
      this.#doing = "pan";
    } else if (event.button === 0) {
      this.#doing = "draw";
      this.#handlers.onStart(this.#viewport.toBoard(place));
    }
    event.preventDefault();
  }

  #handleMove(event: PointerEvent): void {
    const place = this.#place(event);
    const before = this.#down.get(event.pointerId);
    this.#handlers.onHover(this.#viewport.toBoard(place));
    if (!before) {
      return;
    }
    if (this.#doing === "draw") {
      const events = event.getCoalescedEvents?.() ?? [];
      const moves = events.length > 0 ? events : [event];
      this.#handlers.onDraw(moves.map((move) => this.#viewport.toBoard(this.#place(move))));
    } else if (this.#doing === "pan") {
      this.#pan(event.pointerId, before, place);
    }
    this.#down.set(event.pointerId, place);
  }

  /** One finger moves the sheet; two move it together and zoom it apart. */
  #pan(pointer: number, before: Point, place: Point): void {
    const other = [...this.#down].find(([id]) => id !== pointer)?.[1];
    if (!other) {
      this.#viewport.panBy(place.x - before.x, place.y - before.y);
      return;
    }
    const distance = (from: Point) => Math.hypot(from.x - other.x, from.y - other.y);
    const middle = { x: (place.x + other.x) / 2, y: (place.y + other.y) / 2 };
    this.#viewport.panBy((place.x - before.x) / 2, (place.y - before.y) / 2);
    this.#viewport.zoomAt(middle, distance(place) / Math.max(distance(before), 1));
  }

  #handleUp(event: PointerEvent): void {
    if (!this.#down.delete(event.pointerId) || this.#down.size > 0) {
      return;
    }
    if (this.#doing === "draw") {
      if (event.type === "pointercancel") {
        this.#handlers.onCancel();
      } else {
        this.#handlers.onEnd();
      }
    }
    this.#doing = "nothing";
    if (event.pointerType === "touch") {
      this.#handlers.onHover(undefined);
    }
  }

  #handleWheel(event: WheelEvent): void {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      this.#viewport.zoomAt(this.#place(event), Math.exp(-event.deltaY / 300));
    } else {
      this.#viewport.panBy(-event.deltaX, -event.deltaY);
    }
  }

  #handleKey(event: KeyboardEvent): void {
    const pans: Record<string, [number, number]> = {
      ArrowLeft: [KEY_PAN, 0],
      ArrowRight: [-KEY_PAN, 0],
      ArrowUp: [0, KEY_PAN],
      ArrowDown: [0, -KEY_PAN],
    };
    const pan = pans[event.key];
    if (pan) {
      this.#viewport.panBy(...pan);
    } else if (event.key === "+" || event.key === "=") {
      this.zoom(ZOOM_STEP);
    } else if (event.key === "-") {
      this.zoom(1 / ZOOM_STEP);
    } else {
      return;
    }
    event.preventDefault();
  }

  #place(event: MouseEvent): Point {
    const { left, top } = this.#canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }
}
