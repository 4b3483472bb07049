// Sticky notes: properties of the room's entities, which everybody may write, move and remove.

import type { Room } from "@tickloom/client";
import { byId, element } from "../frame/dom.js";
import { sentence } from "../frame/sentence.js";
import { complain } from "../frame/toast.js";
import { type BoardShape, type Note, readNote } from "./description.js";
import type { Point } from "./stroke.js";
import type { Viewport } from "./viewport.js";

/** What somebody types goes out this long after the last key. */
const TYPING_MS = 250;
const MOVING_MS = 60;
const KEY_STEP = 16;
const TEXT_MAX = 600;
const COLOURS = 4;
/** Of a note, in units of the board. */
export const NOTE_SIZE = { width: 190, height: 150 };

interface Shown {
  paper: HTMLElement;
  text: HTMLTextAreaElement;
  typing: number;
  /** Where a hand holds it, before the server says so. */
  held: Point | undefined;
  saidMs: number;
}

export class Notes {
  readonly #room: Room<BoardShape>;
  readonly #viewport: Viewport;
  readonly #shown = new Map<number, Shown>();

  constructor(room: Room<BoardShape>, viewport: Viewport) {
    this.#room = room;
    this.#viewport = viewport;
    byId("notes").replaceChildren();
    const { note } = room.state;
    note.onAdd((value, entity) => this.#show(entity, value));
    note.onChange((value, entity) => this.#update(entity, value));
    note.onRemove((_, entity) => {
      this.#shown.get(entity)?.paper.remove();
      this.#shown.delete(entity);
    });
  }

  /** Puts a new note somewhere and lets the visitor write on it. */
  async add(place: Point): Promise<void> {
    const colour = Math.floor(Math.random() * COLOURS);
    const at = { x: place.x - NOTE_SIZE.width / 2, y: place.y - 12 };
    try {
      const { entities } = await this.#room.write((changes) => {
        changes.set("note", changes.add("room"), { ...at, text: "", colour });
      });
      const [entity = 0] = entities;
      // Accepted comes before the state that shows it.
      for (let tries = 0; tries < 20 && !this.#shown.has(entity); tries++) {
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      this.#shown.get(entity)?.text.focus();
    } catch (error) {
      complain(sentence(error));
    }
  }

  /** Puts the notes where the viewport has them. */
  place(): void {
    const { zoom } = this.#viewport;
    for (const [entity, { paper, held }] of this.#shown) {
      const { x, y } = this.#viewport.toScreen(held ?? this.#noteOf(entity));
      paper.style.transform = `translate(${x}px, ${y}px) scale(${zoom})`;
    }
  }

  #show(entity: number, note: Note): void {
    const grip = element("button", { type: "button", class: "grip" }, "Move");
    grip.title = "Drag, or press the arrow keys";
    const remove = element("button", { type: "button", class: "grip" }, "Remove");
    const text = element("textarea", { "aria-label": "Note", maxlength: TEXT_MAX, rows: 4 });
    text.placeholder = "Write something";
    const bar = element("div", { class: "note-bar" }, grip, remove);
    const paper = element("article", { class: "note", "data-entity": entity }, bar, text);
    const shown: Shown = { paper, text, typing: 0, held: undefined, saidMs: 0 };
    remove.onclick = () => this.#ask(this.#room.write((changes) => changes.despawn(entity)));
    text.oninput = () => {
      clearTimeout(shown.typing);
      shown.typing = window.setTimeout(() => {
        shown.typing = 0;
        this.#set(entity, { text: text.value });
      }, TYPING_MS);
    };
    this.#letMove(entity, grip, shown);
    byId("notes").append(paper);
    this.#shown.set(entity, shown);
    this.#update(entity, note);
    this.place();
  }

  #update(entity: number, note: Note): void {
    const shown = this.#shown.get(entity);
    if (!shown) {
      return;
    }
    const { colour, text } = readNote(note);
    shown.paper.dataset.colour = String(colour % COLOURS);
    // What somebody types here and the server does not know yet is newer.
    if (shown.typing === 0 && shown.text.value !== text) {
      shown.text.value = text;
    }
  }

  #letMove(entity: number, grip: HTMLElement, shown: Shown): void {
    let from: { pointer: Point; note: Point } | undefined;
    grip.addEventListener("pointerdown", (event) => {
      grip.setPointerCapture(event.pointerId);
      from = { pointer: { x: event.clientX, y: event.clientY }, note: this.#noteOf(entity) };
    });
    grip.addEventListener("pointermove", (event) => {
      if (!from) return;
      const { zoom } = this.#viewport;
      shown.held = {
        x: from.note.x + (event.clientX - from.pointer.x) / zoom,
        y: from.note.y + (event.clientY - from.pointer.y) / zoom,
      };
      if (performance.now() - shown.saidMs > MOVING_MS) {
        shown.saidMs = performance.now();
        this.#set(entity, shown.held);
      }
    });
    const drop = () => {
      if (from && shown.held) this.#set(entity, shown.held);
      from = shown.held = undefined;
    };
    grip.addEventListener("pointerup", drop);
    grip.addEventListener("pointercancel", drop);
    grip.addEventListener("keydown", ({ key }) => {
      const steps: Record<string, [number, number]> = {
        ArrowLeft: [-KEY_STEP, 0],
        ArrowRight: [KEY_STEP, 0],
        ArrowUp: [0, -KEY_STEP],
        ArrowDown: [0, KEY_STEP],
      };
      const step = steps[key];
      if (step) {
        const { x, y } = this.#noteOf(entity);
        this.#set(entity, { x: x + step[0], y: y + step[1] });
      }
    });
  }

  #noteOf(entity: number): Note {
    return readNote(this.#room.state.note.get(entity) ?? {});
  }

  #set(entity: number, values: Partial<Note>): void {
    this.#ask(this.#room.write((changes) => changes.set("note", entity, values)));
  }

  #ask(answer: Promise<unknown>): void {
    answer.catch((error) => complain(sentence(error)));
  }
}
