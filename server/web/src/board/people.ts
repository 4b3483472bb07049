// Who is on the board: their cursors over the sheet, and a list of names.

import type { Room } from "@tickloom/client";
import { byId, element, prefersStill } from "../frame/dom.js";
import { hue, textHue } from "../frame/palette.js";
import type { BoardShape } from "./description.js";
import type { Point } from "./stroke.js";
import type { Viewport } from "./viewport.js";

/** A cursor catches up with where it is said to be by this share per second, as an exponent. */
const FOLLOW_PER_SECOND = 18;
const COLOURS = 11;

interface Pointer {
  label: HTMLElement;
  x: number;
  y: number;
}

export class People {
  readonly #room: Room<BoardShape>;
  readonly #pointers = new Map<number, Pointer>();
  readonly #onVisit: (place: Point) => void;
  #listKey = "";

  /** `onVisit` is told to look at somebody's cursor. */
  constructor(room: Room<BoardShape>, onVisit: (place: Point) => void) {
    this.#room = room;
    this.#onVisit = onVisit;
    byId("cursors").replaceChildren();
    room.state.cursor.onRemove((_, entity) => this.#forget(entity));
    room.on("tick", () => this.#list());
    this.#list();
  }

  /** Moves the cursors towards where they are. */
  move(viewport: Viewport, elapsedMs: number): void {
    const share = prefersStill() ? 1 : 1 - Math.exp((-FOLLOW_PER_SECOND * elapsedMs) / 1000);
    for (const [entity, cursor] of this.#room.state.cursor) {
      if (entity === this.#room.entity) {
        continue;
      }
      const pointer = this.#pointers.get(entity) ?? this.#begin(entity, cursor);
      pointer.x += (cursor.x - pointer.x) * share;
      pointer.y += (cursor.y - pointer.y) * share;
      const { x, y } = viewport.toScreen(pointer);
      pointer.label.hidden = !cursor.shown;
      pointer.label.style.transform = `translate(${x}px, ${y}px)`;
    }
  }

  #begin(entity: number, { x, y }: Point): Pointer {
    const name = this.#room.state.name.get(entity) || "Somebody";
    const label = element(
      "div",
      { class: "cursor", "data-entity": entity },
      element("span", {}, name),
    );
    label.style.color = textHue(numberOf(entity));
    byId("cursors").append(label);
    const pointer = { label, x, y };
    this.#pointers.set(entity, pointer);
    return pointer;
  }

  #forget(entity: number): void {
    this.#pointers.get(entity)?.label.remove();
    this.#pointers.delete(entity);
  }

  #list(): void {
    const { state, entity: own } = this.#room;
    const host = state.host.get(0)?.entity;
    const people = [...state.name].map(([entity, name]) => {
      const marks = [
        entity === own ? "you" : "",
        entity === host ? "host" : "",
        state.away.has(entity) ? "away" : "",
      ].filter((mark) => mark !== "");
      return { entity, name: name || "Somebody", marks };
    });
    byId("main").dataset.members = String(people.length);
    // Names change rarely, cursors all the time.
    const key = JSON.stringify(people);
    if (key === this.#listKey) {
      return;
    }
    this.#listKey = key;
    byId("people-count").textContent = String(people.length);
    byId("people").replaceChildren(...people.map((person) => this.#row(person)));
  }

  #row({ entity, name, marks }: { entity: number; name: string; marks: string[] }): HTMLElement {
    const dot = element("span", { class: "swatch" });
    dot.style.background = hue(numberOf(entity));
    const label = marks.length > 0 ? `${name} (${marks.join(", ")})` : name;
    const button = element("button", { type: "button", class: "person" }, dot, label);
    button.title = `Look where ${name} points`;
    button.onclick = () => {
      const cursor = this.#room.state.cursor.get(entity);
      if (cursor) this.#onVisit(cursor);
    };
    return element("li", { "data-entity": entity }, button);
  }
}

/** Neighbours in the list get colours that are far apart. */
function numberOf(entity: number): number {
  return ((entity * 7) % COLOURS) * (256 / COLOURS);
}
