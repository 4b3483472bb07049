// What a board is made of. Whoever comes first to one tells the server, as JSON in `Join`.

import { roomType } from "@tickloom/client";

/** Half the side of a board, in its units: a unit is a pixel at 100 %. */
export const HALF_EXTENT = 32_768;
/** Bytes of one stroke; longer ones are drawn as several. */
export const STROKE_BYTES_MAX = 4_096;
/** Strokes and notes of one board, with its members. */
const ENTITIES_MAX = 8_000;

const axis = (name: string) => ({
  name,
  type: "quant24",
  min: -HALF_EXTENT,
  max: HALF_EXTENT,
  interpolation: "linear",
});
const stroke = {
  kind: "opaque",
  value_bytes_max: "4KiB",
  content_type: "application/octet-stream",
};

export const description = {
  flush: "50ms",
  members_max: 200,
  entities_max: ENTITIES_MAX,
  entities: "members",
  components: [
    // Where a member points. Each member writes its own.
    {
      name: "cursor",
      kind: "packed",
      write: "owner",
      fields: [axis("x"), axis("y"), { name: "shown", type: "bool" }],
    },
    // What a member draws this moment; empty when its pen is up.
    { name: "ink", write: "owner", ...stroke },
    // What was drawn. It belongs to the room, so it stays when its author goes.
    { name: "stroke", write: "members", ...stroke },
    // A sticky note: `x`, `y`, `text`, `colour`.
    { name: "note", kind: "props", write: "members" },
  ],
  topics: [],
};

export interface Cursor {
  x: number;
  y: number;
  shown: boolean;
}

export interface Note {
  x: number;
  y: number;
  text: string;
  colour: number;
}

/** A note as it can be drawn, whatever somebody wrote there: keys may be missing or odd. */
export function readNote(written: Partial<Record<keyof Note, unknown>>): Note {
  const number = (value: unknown, max: number) => {
    const read = Number(value);
    return Number.isFinite(read) ? Math.min(Math.max(read, -max), max) : 0;
  };
  return {
    x: number(written.x, HALF_EXTENT),
    y: number(written.y, HALF_EXTENT),
    text: typeof written.text === "string" ? written.text : "",
    colour: Math.floor(Math.abs(number(written.colour, 255))),
  };
}

export interface BoardShape {
  state: {
    name: string;
    host: { entity: number };
    away: { away: boolean };
    cursor: Cursor;
    ink: Uint8Array;
    stroke: Uint8Array;
    note: Note;
  };
}

export const boardType = roomType<BoardShape>("state", ["cursor.shown", "ink", "stroke", "note"]);
