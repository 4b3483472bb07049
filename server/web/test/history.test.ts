import assert from "node:assert/strict";
import { test } from "node:test";
import { History, type Item } from "../src/board/history.js";

/** A board that writes down what it is told, and gives each stroke another entity. */
class Board {
  readonly strokes = new Set<number>();
  refuses = false;
  #next = 1;

  async put(items: Item[]): Promise<void> {
    this.#check();
    for (const item of items) {
      item.entity = this.#next++;
      this.strokes.add(item.entity);
    }
  }

  async take(items: Item[]): Promise<void> {
    this.#check();
    for (const { entity } of items) {
      assert.ok(this.strokes.delete(entity ?? 0), `stroke ${entity} was on the board`);
    }
  }

  #check(): void {
    if (this.refuses) throw new Error("no");
  }
}

const item = (): Item => ({ bytes: new Uint8Array([1]), entity: undefined });

async function draw(board: Board, history: History, count = 1): Promise<Item[]> {
  const items = Array.from({ length: count }, item);
  await board.put(items);
  history.add({ kind: "draw", items });
  return items;
}

test("what is undone can be done again, and is another entity then", async () => {
  const board = new Board();
  const history = new History(board);
  await draw(board, history, 2);
  await draw(board, history);
  await history.undo();
  assert.deepEqual([...board.strokes], [1, 2]);
  await history.undo();
  assert.deepEqual([board.strokes.size, history.canUndo, history.canRedo], [0, false, true]);
  await history.redo();
  await history.redo();
  assert.deepEqual([[...board.strokes], history.canRedo], [[4, 5, 6], false]);
  await history.undo();
  await history.undo();
  assert.equal(board.strokes.size, 0, "by their new entities");
});

test("erased strokes come back", async () => {
  const board = new Board();
  const history = new History(board);
  const items = await draw(board, history);
  await board.take(items);
  history.add({ kind: "erase", items });
  await history.undo();
  assert.deepEqual([...board.strokes], [2]);
  await history.undo();
  assert.equal(board.strokes.size, 0, "drawing it is undone, too");
  await history.redo();
  await history.redo();
  assert.equal(board.strokes.size, 0, "drawn and erased");
});

test("after something new, nothing is left to do again", async () => {
  const board = new Board();
  const history = new History(board);
  await draw(board, history);
  await history.undo();
  await draw(board, history);
  assert.deepEqual([history.canUndo, history.canRedo], [true, false]);
});

test("a deed that the board refuses is forgotten", async () => {
  const board = new Board();
  const history = new History(board);
  await draw(board, history);
  board.refuses = true;
  await assert.rejects(history.undo());
  assert.deepEqual([history.canUndo, history.canRedo], [false, false]);
});

test("one deed at a time", async () => {
  const board = new Board();
  const history = new History(board);
  await draw(board, history);
  await draw(board, history);
  const first = history.undo();
  assert.equal(history.canUndo, false, "while the board is busy");
  await Promise.all([first, history.undo()]);
  assert.equal(board.strokes.size, 1);
});
