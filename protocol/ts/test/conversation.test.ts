import assert from "node:assert/strict";
import { test } from "node:test";
import { verify } from "../src/hash.js";
import { Replica } from "../src/replica.js";
import { csv, deltaOf, hex, schemaOf } from "./vectors.js";

const crc = (value: number): string => value.toString(16).padStart(8, "0");

for (const compile of [true, false]) {
  test(`the conversation ends in the stated hashes, ${compile ? "compiled" : "interpreted"}`, () => {
    const replica = new Replica(schemaOf("server-joined.bin", compile), 7, verify);
    for (const row of csv("conversation.csv")) {
      const { kind, ...delta } = deltaOf(row.file!) as never as Record<string, number>;
      assert.equal(kind, "Delta");
      assert.deepEqual(
        [delta.base, delta.tick, delta.ackSeq, delta.margin],
        [row.base, row.tick, row.ack_seq, row.margin].map(Number),
      );
      assert.equal(replica.apply(deltaOf(row.file!)), "applied", row.file);
      assert.equal(crc(verify(replica, 0)), row.room_hash, row.file);
      assert.equal(crc(verify(replica, 1)), row.member_hash, row.file);
      replica.notify();
    }
    assert.equal(replica.tick, 15);
  });
}

test("the conversation with events ends in the events and losses of its table", () => {
  const replica = new Replica(schemaOf("server-joined-board.bin"), 7, verify);
  const heard: unknown[] = [];
  const rows = csv("events.csv");
  for (const file of ["events-10.bin", "events-11.bin", "events-12.bin", "events-15.bin"]) {
    assert.equal(replica.apply(deltaOf(file)), "applied", file);
    for (const event of replica.heard.events) {
      const topic = replica.schema.topic(event.topic)!.id;
      const stream = event.isPrivate ? 1 : 0;
      heard.push([
        file,
        stream,
        event.seq,
        topic,
        event.from,
        hex(event.bytes),
        replica.heard.lostCount,
      ]);
    }
  }
  const expected = rows.map(({ file, stream, seq, topic, from, body, lost }) => [
    file,
    ...[stream, seq, topic, from].map(Number),
    body,
    Number(lost),
  ]);
  assert.deepEqual(heard, expected);
  assert.deepEqual(replica.heard.next, [12, 4]);
});
