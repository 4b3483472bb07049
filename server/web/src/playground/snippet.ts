// The code that does what was done by hand.

/** A value as TypeScript. */
export function literal(value: unknown): string {
  if (value instanceof Uint8Array) {
    return `Uint8Array.of(${value.join(", ")})`;
  }
  if (Array.isArray(value)) {
    return `[${value.map(literal).join(", ")}]`;
  }
  if (typeof value === "object" && value !== null) {
    const pairs = Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(
        ([key, inner]) =>
          `${/^[A-Za-z_]\w*$/.test(key) ? key : JSON.stringify(key)}: ${literal(inner)}`,
      );
    return pairs.length > 0 ? `{ ${pairs.join(", ")} }` : "{}";
  }
  return typeof value === "bigint" ? `${value}n` : JSON.stringify(value);
}

const LINES_MAX = 60;

/** Lines of a program, from its first one on. */
export class Snippet {
  #lines: string[] = [];

  /** A seat: the program begins anew. */
  begin(endpoint: string, call: string, type: string, options: Record<string, unknown>): void {
    this.#lines = [
      'import { connect } from "@tickloom/client";',
      "",
      `const client = connect(${literal(endpoint)});`,
      `const room = await client.${call}(${literal(type)}, ${literal(options)});`,
    ];
  }

  add(line: string): void {
    if (this.#lines.length === LINES_MAX) {
      this.#lines.push("// … and more");
    }
    if (this.#lines.length < LINES_MAX) {
      this.#lines.push(line);
    }
  }

  get text(): string {
    return this.#lines.join("\n");
  }
}
