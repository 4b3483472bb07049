import type { Room, Table } from "../index.js";
import { element, show } from "./elements.js";

/** Entities of a component, and characters of a value, that are shown. */
const ENTITIES_MAX = 50;
const CHARACTERS_MAX = 160;

/** The state of a room: a fold for each component, of which only those that are open cost anything. */
export class StateTree {
  readonly element = element("div");
  #room: Room | undefined;
  #folds: { table: Table<unknown>; summary: HTMLElement; body: HTMLElement; name: string }[] = [];

  /** Shows the room as it is now; without one, nothing. */
  draw(room: Room | undefined): void {
    if (room !== this.#room) {
      this.#room = room;
      this.#folds = Object.entries(room?.state ?? {}).map(([name, table]) => ({
        name,
        table,
        summary: element("summary"),
        body: element("pre", { tabIndex: 0, ariaLabel: name }),
      }));
      this.element.replaceChildren(
        ...this.#folds.map(({ summary, body }) => {
          const fold = element("details", {}, summary, body);
          fold.addEventListener("toggle", () => this.draw(this.#room));
          return fold;
        }),
      );
    }
    for (const { name, table, summary, body } of this.#folds) {
      show(summary, `${name} ${table.size}`);
      if ((body.parentElement as HTMLDetailsElement).open) {
        show(body, describe(table));
      }
    }
  }
}

/** A line for each entity. */
export function describe(table: Iterable<[number, unknown]> & { readonly size: number }): string {
  const lines: string[] = [];
  for (const [entity, value] of table) {
    if (lines.length === ENTITIES_MAX) {
      lines.push(`and ${table.size - ENTITIES_MAX} more`);
      break;
    }
    lines.push(`${entity} ${text(value)}`);
  }
  return lines.join("\n");
}

function text(value: unknown): string {
  const json =
    JSON.stringify(value, (_, part) => {
      if (part instanceof Uint8Array) {
        return `${part.length} bytes`;
      }
      if (typeof part === "number" && !Number.isInteger(part)) {
        return +part.toFixed(3);
      }
      return typeof part === "bigint" ? `${part}n` : part;
    }) ?? String(value);
  return json.length > CHARACTERS_MAX ? `${json.slice(0, CHARACTERS_MAX)}...` : json;
}
