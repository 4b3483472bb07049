// What `tickloom codegen ts` writes: the compiler must know rooms by it.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Client, Room } from "../src/index.js";
import { type Arena, arena, relay, type State, state } from "./rooms.gen.js";

test("room types have the names of the server, and what code looks up", () => {
  assert.equal(arena.name, "arena");
  for (const need of ["body.yaw", "profile", "map", "input.move_x"]) {
    assert.ok(arena.needs.includes(need), need);
  }
  assert.deepEqual(relay.needs.slice(-4), ["#chat", "#danmaku", "#quotes", "#signal"]);
});

/** Never called: it is for the compiler. */
export async function compiles(client: Client): Promise<void> {
  const fight: Room<Arena> = await client.join(arena);
  const x: number | undefined = fight.state.body.get(1)?.x;
  const map: Uint8Array | undefined = fight.state.map.get(0);
  fight.input.set({ move_x: 1, buttons: 1 });
  // @ts-expect-error: no such field
  fight.state.body.get(1)?.z;
  // @ts-expect-error: no such component
  fight.state.boddy;
  // @ts-expect-error: no such input
  fight.input.set({ jump: true });
  // @ts-expect-error: it has no topics
  fight.send("chat", "hello");

  const board: Room<State> = await client.join(state);
  const name: string | undefined = board.state.name.get(1);
  const isAway: boolean | undefined = board.state.away.get(1)?.away;
  board.send("event", { x, map, name, isAway });
  await board.set("cursor", board.entity, { x: 1 });
  // @ts-expect-error: a number
  await board.set("cursor", board.entity, { x: "1" });
  // @ts-expect-error: no such topic
  board.send("chat", "hello");
}
