import { Replica } from "../src/replica.js";
import { body, chunk, component, DELTA, field, SNAPSHOT, schema, type Values } from "./chunks.js";
import { delta } from "./vectors.js";

const COUNT = 1_000;

/** A room in which 1,000 entities move: x, y and yaw change with every tick, hit points do not. */
export class Moving {
  readonly replica: Replica;
  readonly #chunks: Uint8Array;
  readonly #rows: Uint8Array;

  constructor(compile = true) {
    const angle = { mode: 1, max: 2 * Math.PI };
    const axis = { min: -512, max: 512 };
    const fields = [
      field("x", 9, axis),
      field("y", 9, axis),
      field("yaw", 8, angle),
      field("hp", 0),
    ];
    this.replica = new Replica(schema([component("body", { fields })], {}, compile), 1);
    const ids = Array.from({ length: COUNT }, (_, index) => index + 1);
    const rows: Values = new Map(
      ids.map((id) => [id, new Uint8Array([id, id >> 8, id, 3, id, 100])]),
    );
    const owners: [number, number][] = [[0, 0], ...ids.map((id): [number, number] => [id, 1])];
    const first = chunk(0, SNAPSHOT, body([], owners, [[0, 0, rows]]));
    this.replica.apply(delta(0, 1, first));
    this.replica.notify();
    this.#chunks = chunk(0, DELTA, body([], [], [[0, 0, rows]]));
    // Behind them is the end of the section.
    this.#rows = this.#chunks.subarray(this.#chunks.length - 7 * COUNT - 1, -1);
  }

  get entitiesCount(): number {
    return COUNT;
  }

  /** One tick: everybody moves. */
  tick(): void {
    const { tick } = this.replica;
    const rows = this.#rows;
    // Each entity is one byte of gap and six of row.
    for (let at = 0; at < rows.length; at += 7) {
      rows[at + 1]! += 7;
      rows[at + 3]! += 3;
      rows[at + 5]! += 1;
    }
    this.replica.apply(delta(tick, tick + 1, this.#chunks));
    this.replica.notify();
  }
}
