// The strokes of a board: what the room holds, what others draw this moment, and what this page
// drew and the server has not shown yet.

import type { Room } from "@tickloom/client";
import type { BoardShape } from "./description.js";
import type { Item } from "./history.js";
import { decodeStroke, type Point, passesNear, type Stroke } from "./stroke.js";

/** A stroke that can be drawn. */
export interface Drawn {
  stroke: Stroke;
  path: Path2D;
}

export class Sheet {
  readonly room: Room<BoardShape>;
  /** Grows when a stroke goes or comes below others, so that everything must be drawn anew. */
  version = 0;
  /** Strokes being drawn by others, by their entity. */
  readonly others = new Map<number, Drawn>();
  readonly #author: number;
  readonly #byEntity = new Map<number, Drawn>();
  #drawn: Drawn[] = [];
  /** Whether `#drawn` has to be put together anew. */
  #isStale = false;
  /** Sent, and not shown by the room yet. */
  readonly #pending = new Set<Drawn>();
  /** Ends when everything that was sent is shown, or refused. */
  #putting: Promise<unknown> = Promise.resolve();
  /** Erased here, and not gone from the room yet. */
  readonly #hidden = new Set<number>();

  constructor(room: Room<BoardShape>, author: number) {
    this.room = room;
    this.#author = author;
    const { stroke, ink } = room.state;
    stroke.onAdd((bytes, entity) => this.#put(entity, bytes));
    stroke.onChange((bytes, entity) => {
      this.#drop(entity);
      this.#put(entity, bytes);
    });
    stroke.onRemove((_, entity) => this.#drop(entity));
    const follow = (bytes: Uint8Array, entity: number) => {
      const drawn = entity === room.entity ? undefined : drawnOf(bytes);
      if (drawn) {
        this.others.set(entity, drawn);
      } else {
        this.others.delete(entity);
      }
    };
    ink.onAdd(follow);
    ink.onChange(follow);
    ink.onRemove((_, entity) => this.others.delete(entity));
  }

  /** Everything that lies still, the lowest first. It only grows at its end within a version. */
  get drawn(): readonly Drawn[] {
    if (this.#isStale) {
      this.#isStale = false;
      const shown = [...this.#byEntity].filter(([entity]) => !this.#hidden.has(entity));
      this.#drawn = shown.map(([, drawn]) => drawn);
      this.#drawn.sort((a, b) => a.stroke.startedMs - b.stroke.startedMs);
    }
    return this.#drawn;
  }

  /** How many strokes the board has. */
  get count(): number {
    return this.#byEntity.size;
  }

  get pending(): Iterable<Drawn> {
    return this.#pending;
  }

  /** Puts strokes on the board, at once here and a moment later everywhere. */
  put(items: Item[]): Promise<void> {
    const isPut = this.#send(items);
    this.#putting = Promise.allSettled([this.#putting, isPut]);
    return isPut;
  }

  async #send(items: Item[]): Promise<void> {
    const shown = items.map(({ bytes }) => drawnOf(bytes)).filter((drawn) => drawn !== undefined);
    for (const drawn of shown) {
      this.#pending.add(drawn);
    }
    try {
      const { entities } = await this.room.write((changes) => {
        for (const { bytes } of items) {
          changes.set("stroke", changes.add("room"), bytes);
        }
      });
      items.forEach((item, at) => {
        item.entity = entities[at];
      });
      await this.#shown(entities);
    } finally {
      for (const drawn of shown) {
        this.#pending.delete(drawn);
      }
    }
  }

  /** Takes strokes off the board, those that are still on their way to it included. */
  async take(items: Item[]): Promise<void> {
    await this.#putting;
    const entities = items
      .map(({ entity }) => entity)
      .filter((entity): entity is number => entity !== undefined && this.#byEntity.has(entity));
    if (entities.length === 0) {
      return;
    }
    this.hide(entities);
    try {
      await this.room.write((changes) => {
        for (const entity of entities) {
          changes.despawn(entity);
        }
      });
    } catch (error) {
      this.#reveal(entities);
      throw error;
    }
  }

  /** Shows strokes as erased before the server does. */
  hide(entities: Iterable<number>): void {
    for (const entity of entities) {
      this.#hidden.add(entity);
    }
    this.#outdate();
  }

  /** The strokes under an eraser: this visitor's, and whether there are others'. */
  near(place: Point, reach: number): { own: Item[]; isOthers: boolean } {
    const own: Item[] = [];
    let isOthers = false;
    for (const [entity, { stroke }] of this.#byEntity) {
      if (this.#hidden.has(entity) || !passesNear(stroke, place, reach)) {
        continue;
      }
      if (stroke.author === this.#author) {
        own.push({ entity, bytes: this.room.state.stroke.get(entity) as Uint8Array });
      } else {
        isOthers = true;
      }
    }
    return { own, isOthers };
  }

  #reveal(entities: Iterable<number>): void {
    for (const entity of entities) {
      this.#hidden.delete(entity);
    }
    this.#outdate();
  }

  /** Many strokes may come and go before somebody looks. */
  #outdate(): void {
    this.#isStale = true;
    this.version += 1;
  }

  /** Waits until the room shows what it accepted, or for as long as a bad line may take. */
  async #shown(entities: readonly number[]): Promise<void> {
    const { stroke } = this.room.state;
    const isThere = () => entities.every((entity) => stroke.has(entity));
    for (let tries = 0; tries < 40 && !isThere(); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  #put(entity: number, bytes: Uint8Array): void {
    const drawn = drawnOf(bytes);
    if (!drawn) {
      return;
    }
    this.#byEntity.set(entity, drawn);
    const last = this.#drawn.at(-1);
    if (this.#isStale || (last && isBelow(drawn, last))) {
      this.#outdate();
    } else {
      this.#drawn.push(drawn);
    }
  }

  #drop(entity: number): void {
    this.#byEntity.delete(entity);
    this.#hidden.delete(entity);
    this.#outdate();
  }
}

function isBelow(one: Drawn, other: Drawn): boolean {
  return one.stroke.startedMs < other.stroke.startedMs;
}

/** A stroke that can be drawn, if the bytes are one. */
export function drawnOf(bytes: Uint8Array): Drawn | undefined {
  const stroke = decodeStroke(bytes);
  return stroke && stroke.points.length > 0 ? { stroke, path: pathOf(stroke.points) } : undefined;
}

/** A smooth line through points: curves from middle to middle. */
export function pathOf(points: readonly Point[]): Path2D {
  const path = new Path2D();
  const [first] = points;
  if (!first) {
    return path;
  }
  path.moveTo(first.x, first.y);
  for (let at = 1; at < points.length - 1; at++) {
    const [here, next] = [points[at] as Point, points[at + 1] as Point];
    path.quadraticCurveTo(here.x, here.y, (here.x + next.x) / 2, (here.y + next.y) / 2);
  }
  const last = points.at(-1) as Point;
  path.lineTo(last.x, last.y);
  return path;
}
