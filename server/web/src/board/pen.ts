// A stroke while it is drawn: here at once, at the others' a few times a second, and on the board
// when the pen is lifted.

import { STROKE_BYTES_MAX } from "./description.js";
import type { Deed, Item } from "./history.js";
import { type Drawn, drawnOf, type Sheet } from "./sheet.js";
import { encodeStroke, type Point, type Stroke, simplify } from "./stroke.js";

/** What a simpler line may differ from the drawn one, in pixels. */
const TOLERANCE = 0.5;
/** Points are at least so many pixels apart. */
const STEP_MIN = 1.2;
/** Below the most that a stroke may have, with room for the points of one more move. */
const BYTES_MAX = STROKE_BYTES_MAX - 512;

export class Pen {
  readonly #sheet: Sheet;
  readonly #zoom: number;
  #stroke: Stroke;
  /** Parts of the line that became too long for one stroke. */
  readonly #items: Item[] = [];

  constructor(sheet: Sheet, zoom: number, stroke: Stroke) {
    this.#sheet = sheet;
    this.#zoom = zoom;
    this.#stroke = stroke;
    this.#tell();
  }

  /** What to draw of it now. */
  get drawn(): Drawn[] {
    const parts = [...this.#items.map(({ bytes }) => bytes), encodeStroke(this.#stroke)];
    return parts.map(drawnOf).filter((drawn) => drawn !== undefined);
  }

  move(places: Point[]): void {
    const { points } = this.#stroke;
    for (const place of places) {
      const last = points.at(-1) as Point;
      if (Math.hypot(place.x - last.x, place.y - last.y) * this.#zoom >= STEP_MIN) {
        points.push(place);
      }
    }
    if (encodeStroke(this.#stroke).length > BYTES_MAX) {
      this.#cut();
    }
    this.#tell();
  }

  /** Lifts the pen. Returns what was done, and when the board has it. */
  lift(): { deed: Deed; isPut: Promise<void> } {
    this.#items.push({ bytes: this.#bytes(), entity: undefined });
    const isPut = this.#sheet.put(this.#items);
    this.cancel();
    return { deed: { kind: "draw", items: this.#items }, isPut };
  }

  /** Takes back what others were shown. */
  cancel(): void {
    this.#sheet.room.presence.set({ ink: new Uint8Array() }, { throttleMs: 0 });
  }

  #tell(): void {
    this.#sheet.room.presence.set({ ink: this.#bytes() });
  }

  #bytes(): Uint8Array {
    const points = simplify(this.#stroke.points, TOLERANCE / this.#zoom);
    return encodeStroke({ ...this.#stroke, points });
  }

  /** Goes on with another stroke from where this one is. */
  #cut(): void {
    this.#items.push({ bytes: this.#bytes(), entity: undefined });
    const last = this.#stroke.points.at(-1) as Point;
    this.#stroke = { ...this.#stroke, points: [last] };
  }
}
