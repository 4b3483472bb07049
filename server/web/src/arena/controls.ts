// What a player wants: keys, a mouse, or two thumbs on a screen.

import { isTyping } from "../frame/dom.js";

/** What is wanted at a moment; `aim` is undefined while nothing points anywhere. */
export interface Wish {
  x: number;
  y: number;
  aim: number | undefined;
  isFiring: boolean;
}

/** A thumb and where it came down, in pixels of the canvas. */
export interface Stick {
  role: "move" | "aim";
  startX: number;
  startY: number;
  x: number;
  y: number;
}

/** How far a thumb moves for full speed. */
export const STICK_REACH = 56;
/** A thumb that aims fires when it is at least this share of the way out. */
const FIRE_SHARE = 0.45;

const directions: Record<string, [number, number]> = {
  KeyW: [0, -1],
  ArrowUp: [0, -1],
  KeyS: [0, 1],
  ArrowDown: [0, 1],
  KeyA: [-1, 0],
  ArrowLeft: [-1, 0],
  KeyD: [1, 0],
  ArrowRight: [1, 0],
};

export class Controls {
  /** Thumbs on the screen, by pointer. */
  readonly sticks = new Map<number, Stick>();
  /** Where the mouse is on the canvas, once it was there. */
  mouse: { x: number; y: number } | undefined;
  readonly #canvas: HTMLCanvasElement;
  readonly #keys = new Set<string>();
  #isMouseDown = false;
  #aim: number | undefined;

  /** `onKey` is told of keys that mean neither moving nor firing. */
  constructor(canvas: HTMLCanvasElement, onKey: (code: string) => void) {
    this.#canvas = canvas;
    addEventListener("keydown", (event) => this.#handleKey(event, onKey));
    addEventListener("keyup", (event) => this.#keys.delete(event.code));
    addEventListener("blur", () => this.clear());
    document.addEventListener("visibilitychange", () => document.hidden && this.clear());
    canvas.addEventListener("pointerdown", (event) => this.#handleDown(event));
    canvas.addEventListener("pointermove", (event) => this.#handleMove(event));
    for (const end of ["pointerup", "pointercancel"] as const) {
      canvas.addEventListener(end, (event) => this.#handleUp(event));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** Lets go of everything. */
  clear(): void {
    this.#keys.clear();
    this.sticks.clear();
    this.#isMouseDown = false;
  }

  /** What is wanted by somebody who is drawn at this place of the canvas. */
  wish(at: { x: number; y: number }): Wish {
    let [x, y] = [0, 0];
    for (const code of this.#keys) {
      const [dx, dy] = directions[code] ?? [0, 0];
      x += dx;
      y += dy;
    }
    let isFiring = this.#isMouseDown || this.#keys.has("Space");
    for (const stick of this.sticks.values()) {
      const [dx, dy] = deflection(stick);
      if (stick.role === "move") {
        [x, y] = [x + dx, y + dy];
      } else if (dx !== 0 || dy !== 0) {
        this.#aim = Math.atan2(dy, dx);
        isFiring ||= Math.hypot(dx, dy) > FIRE_SHARE;
      }
    }
    const length = Math.hypot(x, y);
    if (length > 1) {
      [x, y] = [x / length, y / length];
    }
    this.#turn(at, x, y);
    return { x, y, aim: this.#aim, isFiring };
  }

  /** A mouse points; without one, whoever walks looks ahead. */
  #turn(at: { x: number; y: number }, x: number, y: number): void {
    const isAiming = [...this.sticks.values()].some(({ role }) => role === "aim");
    if (this.mouse && !isAiming) {
      this.#aim = Math.atan2(this.mouse.y - at.y, this.mouse.x - at.x);
    } else if (!isAiming && (x !== 0 || y !== 0)) {
      this.#aim = Math.atan2(y, x);
    }
  }

  #handleKey(event: KeyboardEvent, onKey: (code: string) => void): void {
    const isOurs = event.target === this.#canvas || event.target === document.body;
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const isHeld = event.code in directions || event.code === "Space";
    // Elsewhere on the page, space presses buttons and arrows scroll.
    if (!isOurs && (event.code === "Space" || event.code.startsWith("Arrow"))) {
      return;
    }
    if (isHeld) {
      this.#keys.add(event.code);
      event.preventDefault();
    } else if (!event.repeat) {
      onKey(event.code);
    }
  }

  #handleDown(event: PointerEvent): void {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#canvas.focus({ preventScroll: true });
    const { x, y } = this.#place(event);
    if (event.pointerType === "mouse") {
      this.mouse = { x, y };
      this.#isMouseDown = event.button === 0 || this.#isMouseDown;
      return;
    }
    event.preventDefault();
    this.mouse = undefined;
    const role = x < this.#canvas.clientWidth / 2 ? "move" : "aim";
    this.sticks.set(event.pointerId, { role, startX: x, startY: y, x, y });
  }

  #handleMove(event: PointerEvent): void {
    const place = this.#place(event);
    const stick = this.sticks.get(event.pointerId);
    if (stick) {
      Object.assign(stick, place);
    } else if (event.pointerType === "mouse") {
      this.mouse = place;
    }
  }

  #handleUp(event: PointerEvent): void {
    this.sticks.delete(event.pointerId);
    if (event.pointerType === "mouse" && event.button === 0) {
      this.#isMouseDown = false;
    }
  }

  #place(event: PointerEvent): { x: number; y: number } {
    const { left, top } = this.#canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }
}

/** How far a stick is from its middle, at most 1. */
function deflection({ startX, startY, x, y }: Stick): [number, number] {
  const [dx, dy] = [(x - startX) / STICK_REACH, (y - startY) / STICK_REACH];
  const length = Math.hypot(dx, dy);
  // A resting thumb trembles.
  if (length < 0.12) {
    return [0, 0];
  }
  return length > 1 ? [dx / length, dy / length] : [dx, dy];
}
