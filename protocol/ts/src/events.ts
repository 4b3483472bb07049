/** What was said in a room: in order, without repeats, with a count of what was missed (SPEC.md section 9). */
import { type ByteReader, looseTextOf, malformed } from "./bytes.js";
import type { Schema } from "./schema.js";

/** Bytes of an event's body. */
export const EVENT_BYTES_MAX = 16_384;

/** One event. */
export class RoomEvent {
  /** Whether it was said before this member came. */
  isHistory = false;

  constructor(
    /** The name of its topic. */
    readonly topic: string,
    /** The member that said it; 0 for the room itself. */
    readonly from: number,
    /** What was said. */
    readonly bytes: Uint8Array,
    /** Whether it was said to this member and not to everybody. */
    readonly isPrivate: boolean,
    /** Its number on its stream. */
    readonly seq: number,
  ) {}

  /** The bytes as UTF-8 text; what is none becomes U+FFFD. */
  get text(): string {
    return looseTextOf(this.bytes);
  }

  /** The text parsed as JSON. Throws a `SyntaxError` when it is none. */
  get json(): unknown {
    return JSON.parse(this.text);
  }
}

/** Where a member is on both streams, and what the delta given last said. */
export class Heard {
  events: RoomEvent[] = [];
  /** By stream: the number expected next, 0 before any was heard of. */
  next: [number, number] = [0, 1];
  /** Events that the room no longer had when this member was ready for them. */
  lostCount = 0;
  #before: [number, number, number] = [0, 1, 0];

  /** A delta comes: what the one before it said is gone. */
  begin(): void {
    this.events = [];
    this.#before = [...this.next, this.lostCount];
  }

  /** The delta did not fit, so nothing of it was heard: the room repeats it, or it is lost. */
  rewind(): void {
    this.events = [];
    const [room, member, lostCount] = this.#before;
    this.next = [room, member];
    this.lostCount = lostCount;
  }

  /** Reads the body of an events chunk. */
  read(stream: number, schema: Schema, reader: ByteReader): void {
    let seq = reader.varint(2 ** 53);
    if (!seq) throw malformed("event");
    // What was said before the member came is history, and what is left out of that is not lost.
    const isFirst = !stream && !this.#before[0];
    // Of the chunks of history the last says where the member's own hearing begins.
    if (isFirst) for (const event of this.events) event.isHistory ||= !event.isPrivate;
    let next = this.next[stream]! || seq;
    if (!isFirst) this.lostCount += Math.max(seq - next, 0);
    next = Math.max(next, seq);
    for (let topic = reader.varint(); topic; topic = reader.varint()) {
      const name = schema.topics[topic - 1]?.name;
      const from = reader.varint(65_536);
      const bytes = reader.sized(EVENT_BYTES_MAX);
      if (name === undefined || seq >= 2 ** 53) throw malformed("event");
      // A snapshot repeats, for those who come new, what others have heard.
      if (seq === next) {
        this.events.push(new RoomEvent(name, from, bytes.slice(), !!stream, seq));
        next += 1;
      }
      seq += 1;
    }
    this.next[stream] = next;
    if (reader.at < reader.end) throw malformed("event");
  }
}
