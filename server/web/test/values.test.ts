import assert from "node:assert/strict";
import { test } from "node:test";
import { literal, Snippet } from "../src/playground/snippet.js";
import {
  readBody,
  readHex,
  readNumbers,
  readObject,
  show,
  showBody,
} from "../src/playground/values.js";

test("any value is shown in one line", () => {
  const cases: [unknown, string][] = [
    ["a\nb", '"a\\nb"'],
    [1.23456789, "1.23457"],
    [65_535, "65535"],
    [12n, "12n"],
    [true, "true"],
    [undefined, "undefined"],
    [null, "null"],
    [{ x: 1.5, y: -2, on: false }, "x 1.5   y -2   on false"],
    [{}, "{}"],
    [[1, "a"], '[1,"a"]'],
    [new Uint8Array([1, 255]), "01 ff"],
    [new Uint8Array(), "no bytes"],
    [{ of: new Uint8Array([7]) }, "of 07"],
  ];
  for (const [value, expected] of cases) {
    assert.equal(show(value), expected);
  }
  const long = show(new Uint8Array(1000));
  assert.ok(long.length < 100 && long.endsWith("1000 bytes"), long);
  assert.ok(show("x".repeat(10_000)).length < 200);
});

test("what was said is shown as text when it is one", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  assert.equal(showBody(bytes("Grüße\n")), "Grüße\n");
  assert.equal(showBody(new Uint8Array([0xff, 0xfe])), "ff fe");
  assert.equal(showBody(new Uint8Array([0x41, 0x00])), "41 00");
});

test("a body is what it looks like", () => {
  assert.equal(readBody("hello"), "hello");
  assert.equal(readBody(" 12 "), " 12 ");
  assert.deepEqual(readBody(' {"a": [1]} '), { a: [1] });
  assert.deepEqual(readBody("0x 01 fF"), new Uint8Array([1, 255]));
  assert.equal(readBody("0xyz"), "0xyz", "no digits, so a text");
  assert.throws(() => readBody("{oops"), SyntaxError);
  assert.throws(() => readBody("0x123"), /two hexadecimal digits/);
});

test("what cannot be read says what and why", () => {
  assert.throws(() => readHex("0g"), /"0g" is not bytes/);
  assert.throws(() => readObject("[1]", "Options"), /Options must be a JSON object/);
  assert.throws(() => readObject("{", "Options"), /Options is not JSON/);
  assert.equal(readObject("  ", "Options"), undefined);
  assert.deepEqual(readNumbers(" 1, 22,,3 ", "To"), [1, 22, 3]);
  assert.deepEqual(readNumbers("", "To"), []);
  assert.throws(() => readNumbers("1, x", "To"), /To: "x" is not a whole number/);
});

test("the snippet is the program that does the same", () => {
  const snippet = new Snippet();
  snippet.begin("ws://h/ws", "join", "relay", { room: 'a"b', name: undefined });
  snippet.add(`room.send(${literal("chat")}, ${literal({ "a-b": [1, null], c: 2n })});`);
  snippet.add(literal(new Uint8Array([1, 2])));
  assert.equal(
    snippet.text,
    [
      'import { connect } from "@tickloom/client";',
      "",
      'const client = connect("ws://h/ws");',
      'const room = await client.join("relay", { room: "a\\"b" });',
      'room.send("chat", { "a-b": [1, null], c: 2n });',
      "Uint8Array.of(1, 2)",
    ].join("\n"),
  );
  for (let line = 0; line < 1000; line++) snippet.add("x();");
  assert.ok(snippet.text.split("\n").length < 70, "it ends");
  assert.match(snippet.text, /and more$/);
});
