import assert from "node:assert/strict";
import { test } from "node:test";
import { Viewport, ZOOM_MAX, ZOOM_MIN } from "../src/board/viewport.js";

function viewport(): Viewport {
  const made = new Viewport();
  made.resize(800, 600);
  made.lookAt({ x: 100, y: -50 });
  return made;
}

test("places go to the screen and back", () => {
  const view = viewport();
  view.zoom = 2;
  assert.deepEqual(view.toScreen({ x: 100, y: -50 }), { x: 400, y: 300 });
  assert.deepEqual(view.toScreen({ x: 110, y: -45 }), { x: 420, y: 310 });
  assert.deepEqual(view.toBoard({ x: 420, y: 310 }), { x: 110, y: -45 });
});

test("what lies under the fingers stays there while they zoom", () => {
  const view = viewport();
  const at = { x: 123, y: 456 };
  const under = view.toBoard(at);
  for (const factor of [1.5, 1.5, 0.2, 3]) {
    view.zoomAt(at, factor);
    const { x, y } = view.toBoard(at);
    assert.ok(Math.hypot(x - under.x, y - under.y) < 1e-9, `${factor}`);
  }
});

test("a zoom has ends", () => {
  const view = viewport();
  view.zoomAt({ x: 0, y: 0 }, 1000);
  assert.equal(view.zoom, ZOOM_MAX);
  view.zoomAt({ x: 0, y: 0 }, 1e-6);
  assert.equal(view.zoom, ZOOM_MIN);
});

test("the sheet goes along with the hand, and says that it moved", () => {
  const view = viewport();
  view.zoom = 0.5;
  const before = view.version;
  view.panBy(10, -20);
  assert.deepEqual([view.x, view.y], [80, -10]);
  assert.ok(view.version > before);
});
