import { readFileSync } from "node:fs";
import { decodeServer } from "../src/messages.js";
import { Schema } from "../src/schema.js";
import type { Delta, Joined } from "../src/wire.gen.js";

/** The bytes of a golden vector. Tests run in the package's folder. */
export const vector = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(`../vectors/${name}`));

/** The rows of a table of golden values, by column. */
export function csv(name: string): Record<string, string>[] {
  const [head, ...lines] = readFileSync(`../vectors/${name}`, "utf8").trimEnd().split("\n");
  const columns = head!.split(",");
  return lines.map((line) => {
    const cells = line.split(",");
    return Object.fromEntries(columns.map((column, index) => [column, cells[index] ?? ""]));
  });
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Bytes of spaced hexadecimal digits. */
export const unhex = (text: string): Uint8Array =>
  new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));

/** The schema in one of the `server-joined*.bin` files. */
export function schemaOf(name: string, compile = true): Schema {
  return new Schema((decodeServer(vector(name)) as unknown as Joined).schema, compile);
}

/** The delta in a file, or one made of chunks. */
export const deltaOf = (name: string): Delta => decodeServer(vector(name)) as unknown as Delta;

export const delta = (base: number, tick: number, chunks: Uint8Array, ackOp = 0): Delta => ({
  tick,
  base,
  ackSeq: 0,
  margin: 0,
  chunks,
  ackOp,
  loadLevel: 0,
});
