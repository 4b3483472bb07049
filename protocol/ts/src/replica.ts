/**
 * What a client knows of its room (SPEC.md section 6).
 *
 * A snapshot replaces, a delta applies, and anything that does not fit asks for a resync. What a
 * snapshot or a stream brings again is compared with what is there: until the end of the delta the
 * old is only in doubt, so entities that stay keep their objects.
 */
import { ByteReader, malformed } from "./bytes.js";
import { type Report, throwLater } from "./emitter.js";
import { Heard } from "./events.js";
import { Pending } from "./pending.js";
import { type Component, PROPS, type Schema } from "./schema.js";
import { ADD, CHANGE, REMOVE, Table } from "./table.js";
import type { Delta } from "./wire.gen.js";

/** An entity; its owner is a member, or 0 for the room. */
export interface Entity {
  readonly id: number;
  readonly owner: number;
}

/** Computes the hash of what a replica holds of a stream (SPEC.md section 6, "The hash"). */
export type Verify = (replica: Replica, stream: number) => number;

/** How a replica took a delta; `resync` is an index of {@link resyncReason}. */
export type Applied = "applied" | "ignored" | { resync: number; haveTick: number; error?: unknown };

const GAP = 0;
const MALFORMED = 1;
const HASH_MISMATCH = 2;

/** The first stream of a cell. */
const CELLS = 16;
/** Streams by what they hold; a cell holds what the room stream does. */
const ROOM = 0;

const SNAPSHOT = 1;
const DELTA = 2;
const HASH = 3;
const EVENTS = 4;
const MOTION = 5;
const GONE = 6;

const ROWS = 1;
const REMOVED = 2;

/** A room's state as one member sees it. {@link Replica.apply} takes deltas in, handlers hear of it. */
export class Replica {
  readonly schema: Schema;
  /** Whose replica this is. */
  member: number;
  /** The tick of the content; 0 while a snapshot is awaited, and then the content is undefined. */
  tick = 0;
  /** By component. */
  readonly tables: readonly Table<unknown>[];
  readonly entities: Table<Entity>;
  /** Own writes that no delta has shown yet. */
  readonly pending: Pending;
  /** Entities of which {@link Replica.notify} told last; a view that the next call overwrites. */
  changed = new Uint16Array();
  /** What the delta given last said, if it was applied; and how far this member has heard. */
  readonly heard = new Heard();
  readonly #verify: Verify | undefined;
  /** By entity: one more than the stream that it is on; below 0 when that said that it left. */
  readonly #places = new Int32Array(65_536);
  readonly #all: readonly Table<unknown>[];
  readonly #changed = new Uint16Array(65_536);
  readonly #isChanged = new Uint8Array(65_536);
  readonly #later: (act: () => void) => void;
  #isTelling = false;
  #tellsAgain = false;

  constructor(
    schema: Schema,
    member: number,
    verify?: Verify,
    /** Is given what handlers throw. */
    report: Report = throwLater,
    /** Does something in a later task. */
    later: (act: () => void) => void = setTimeout,
  ) {
    this.#later = later;
    this.schema = schema;
    this.member = member;
    this.#verify = verify;
    this.tables = schema.components.map((component) => new Table<unknown>(report, component));
    this.entities = new Table<Entity>(report);
    this.#all = [this.entities as Table<unknown>, ...this.tables];
    this.pending = new Pending(
      this.tables,
      (entity, scope) => this.#places[entity]! > 0 || (scope > 0 && !!schema.interest),
    );
    this.#enter(0, 0, ROOM);
  }

  /** The stream that an entity is on; below 0 when it is not there. @internal */
  streamOf(entity: number): number {
    return Math.max(this.#places[entity]!, 0) - 1;
  }

  /** The seat is a new one: what is there is compared with its first snapshot. */
  beginAgain(member: number): void {
    this.member = member;
    this.tick = 0;
    this.heard.next = [0, 1];
    this.pending.clear();
  }

  /**
   * The seat is the same over another connection, and the replica goes on. Writes below `op` were
   * sent over the one before.
   */
  continueWith(op = Infinity): void {
    this.pending.beginAgain(op);
  }

  /** Applies a delta. After a resync is asked for, all are ignored until the next snapshot. */
  apply({ tick, base, ackOp, chunks }: Delta): Applied {
    const haveTick = this.tick;
    this.heard.begin();
    if (base) {
      if (!haveTick || tick <= haveTick) return "ignored";
      if (base !== haveTick) {
        this.tick = 0;
        return { resync: GAP, haveTick };
      }
    }
    // Until the last chunk fits, the content is nobody's.
    this.tick = 0;
    let resync = MALFORMED;
    let error: unknown;
    try {
      if (!base) this.#doubtAll();
      resync = this.#applyChunks(chunks) ? 0 : HASH_MISMATCH;
    } catch (thrown) {
      error = thrown;
    }
    if (resync) {
      this.heard.rewind();
      return { resync, haveTick, error };
    }
    for (const table of this.#all) table._sweep();
    this.pending.ack(ackOp);
    this.tick = tick;
    return "applied";
  }

  /**
   * Tells the tables' handlers what changed since they were told last: removes, adds, changes.
   * What handlers change themselves is told in a later task: two that answer each other take turns
   * with the page.
   */
  notify(): void {
    if (this.#isTelling) {
      this.#tellsAgain = true;
      return;
    }
    this.#isTelling = true;
    let count = 0;
    for (const table of this.#all) {
      table._begin();
      for (let index = 0; index < table._toldCount; index++) {
        const entity = table._told[index]!;
        if (this.#isChanged[entity]) continue;
        this.#isChanged[entity] = 1;
        this.#changed[count++] = entity;
      }
    }
    for (let index = 0; index < count; index++) this.#isChanged[this.#changed[index]!] = 0;
    this.changed = this.#changed.subarray(0, count);
    for (const table of this.#all) table._tell(REMOVE);
    for (const table of this.#all) table._tell(ADD);
    for (const table of this.#all) table._tell(CHANGE);
    this.#isTelling = false;
    if (this.#tellsAgain) {
      this.#tellsAgain = false;
      this.#later(() => this.notify());
    }
  }

  /** Applies all chunks; false when a hash is another one. */
  #applyChunks(chunks: Uint8Array): boolean {
    const reader = new ByteReader(chunks);
    const hashed: number[] = [];
    while (reader.at < chunks.length) {
      reader.end = chunks.length;
      const stream = reader.varint();
      const kind = reader.u8();
      const length = reader.varint();
      const start = reader.skip(length);
      const isCell = stream >= CELLS && stream - CELLS < this.schema.cellsCount;
      if ((stream > 2 && !isCell) || hashed.includes(stream)) throw malformed("stream");
      if (kind === HASH) {
        if (length !== 4) throw malformed("hash");
        const hash = reader.view.getUint32(start, true);
        if (this.#verify && this.#verify(this, stream) !== hash) return false;
        hashed.push(stream);
        continue;
      }
      reader.at = start;
      reader.end = start + length;
      this.#applyChunk(stream, kind, reader);
    }
    return true;
  }

  #applyChunk(stream: number, kind: number, reader: ByteReader): void {
    if (kind === EVENTS && stream < 2) {
      this.heard.read(stream, this.schema, reader);
      return;
    }
    const isKnown = kind >= SNAPSHOT && kind <= (stream < CELLS ? DELTA : GONE);
    if (!isKnown || kind === EVENTS) throw malformed("chunk");
    const scope = stream < CELLS ? stream : ROOM;
    if (kind === SNAPSHOT || kind === GONE) {
      if (scope) this.#eachOf(scope, (table) => table._doubtAll());
      else if (this.schema.interest) this.#forget(stream);
      else this.#doubtAll();
    }
    if (kind === GONE) {
      if (reader.at < reader.end) throw malformed("gone");
      return;
    }
    if (kind !== MOTION) this.#readStructure(stream, scope, kind, reader);
    while (reader.at < reader.end) this.#readSection(stream, scope, kind === MOTION, reader);
  }

  /** Who leaves and who enters. */
  #readStructure(stream: number, scope: number, kind: number, reader: ByteReader): void {
    for (let entity = reader.gap(-1); entity >= 0; entity = reader.gap(entity)) {
      if (scope || kind !== DELTA || !entity) throw malformed("leave");
      // With interest, whoever went on to another stream in view is there already.
      if (this.#places[entity] === stream + 1) {
        this.#places[entity] = -(stream + 1);
        this.#doubt(entity);
      } else if (!this.schema.interest) throw malformed("leave");
    }
    for (let entity = reader.gap(-1); entity >= 0; entity = reader.gap(entity)) {
      const owner = reader.varint(65_536);
      // The room itself is everywhere and in no cell.
      if (scope || (!entity && stream)) throw malformed("enter");
      this.#enter(entity, owner, stream);
    }
  }

  #enter(entity: number, owner: number, stream: number): void {
    // Whoever left and came within one chunk is another one.
    if (this.#places[entity] === -(stream + 1))
      for (const table of this.#all) table._dropDoubted(entity);
    // An entity that comes from another cell keeps nothing, and is compared with what it was.
    if (this.schema.interest) this.#eachOf(ROOM, (table) => table._doubt(entity));
    this.#places[entity] = stream + 1;
    const { entities } = this;
    const known = entities.get(entity) as { owner: number } | undefined;
    entities._confirm(entity);
    if (known?.owner === owner) return;
    if (known) known.owner = owner;
    entities._show(entity, (known as Entity | undefined) ?? { id: entity, owner });
  }

  #readSection(stream: number, scope: number, isMotion: boolean, reader: ByteReader): void {
    const kind = reader.u8();
    const table = this.tables[reader.u8()];
    const component = table?.component as Component;
    const isFit = kind === REMOVED || kind === [ROWS, 3, 4][component?.kind];
    if (
      !table ||
      component.scope !== scope ||
      !isFit ||
      (isMotion && !(component.motion && kind === ROWS))
    ) {
      throw malformed("section");
    }
    // With interest, what is told in private does not depend on what is in view.
    const place = !this.schema.interest ? 1 : scope ? 0 : stream + 1;
    const length = kind === ROWS ? component.rows!.bytes : 0;
    for (let entity = reader.gap(-1); entity >= 0; entity = reader.gap(entity)) {
      if (place && this.#places[entity] !== place) throw malformed("entity");
      if (length) table._setRow(entity, reader, reader.skip(length));
      else if (kind === REMOVED) table._drop(entity);
      else if (component.kind === PROPS) table._setProps(entity, reader);
      else table._setOpaque(entity, reader.sized(component.valueBytesMax));
    }
  }

  #eachOf(scope: number, act: (table: Table<unknown>) => void): void {
    for (const table of this.tables) if (table.component!.scope === scope) act(table);
  }

  /** An entity is not there any more, unless the delta says otherwise. */
  #doubt(entity: number): void {
    this.entities._doubt(entity);
    for (const table of this.tables) {
      // With interest, private values do not depend on what is in view.
      if (!this.schema.interest || !table.component!.scope) table._doubt(entity);
    }
  }

  /** What is in view because of a stream is not any more. */
  #forget(stream: number): void {
    for (let entity = 0; entity < this.entities._all.length; entity++) {
      if (this.#places[entity] !== stream + 1) continue;
      this.#doubt(entity);
      if (entity) this.#places[entity] = 0;
      else this.entities._confirm(0);
    }
  }

  /** Everything is gone but the room itself, unless the delta says otherwise. */
  #doubtAll(): void {
    for (const table of this.#all) table._doubtAll();
    this.#places.fill(0);
    this.#enter(0, 0, ROOM);
  }
}
