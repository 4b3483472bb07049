import assert from "node:assert/strict";
import { test } from "node:test";
import { Camera } from "../src/arena/camera.js";

function camera(width: number, height: number): Camera {
  const made = new Camera();
  made.resize(width, height, "arena");
  return made;
}

test("a camera shows as much of the room on any screen, but nobody becomes too small", () => {
  assert.equal(camera(1150, 600).scale, 1);
  assert.equal(camera(2300, 900).scale, 2);
  assert.equal(camera(360, 500).scale, 0.62, "a phone shows less");
});

test("what is looked at is in the middle", () => {
  const made = camera(1150, 600);
  made.lookAt({ x: 100, y: -50, yaw: 0 });
  assert.deepEqual(made.toCanvas({ x: 100, y: -50 }), { x: 575, y: 300 });
  assert.deepEqual(made.toCanvas({ x: 110, y: -40 }), { x: 585, y: 310 });
  const expected = { minX: -475, minY: -350, maxX: 675, maxY: 250 };
  assert.deepEqual(made.bounds(), expected);
});

test("a camera stays over the room", () => {
  const made = camera(1150, 600);
  made.lookAt({ x: 1010, y: -1010, yaw: 0 });
  made.keepWithin(1024, 150);
  assert.deepEqual([made.x, made.y], [599, -874]);
  assert.equal(made.bounds().maxX, 1174, "the edge and 150 units more");
  const small = camera(1150, 600);
  small.lookAt({ x: 90, y: 0, yaw: 0 });
  small.keepWithin(100, 0);
  assert.equal(small.x, 0, "a room that is smaller than the screen is in its middle");
});

test("a camera glides towards whom it follows, equally far at any frame rate", () => {
  const [smooth, rough] = [camera(1150, 600), camera(1150, 600)];
  for (let frame = 0; frame < 60; frame++) smooth.follow({ x: 100, y: 0, yaw: 0 }, 5);
  for (let frame = 0; frame < 3; frame++) rough.follow({ x: 100, y: 0, yaw: 0 }, 100);
  assert.ok(Math.abs(smooth.x - rough.x) < 1e-9 && smooth.x > 80 && smooth.x < 90, `${smooth.x}`);
});
