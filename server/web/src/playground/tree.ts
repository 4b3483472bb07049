// The state of a room, as a tree that is updated in place.

import type { Room, Table } from "@tickloom/client";
import { byId, element, setText } from "../frame/dom.js";
import { show } from "./values.js";

const EVERY_MS = 150;
/** Entities of one component that are shown. */
const ROWS_MAX = 50;
const FLASH_MS = 400;

interface Branch {
  name: string;
  table: Table<unknown>;
  version: number;
  details: HTMLDetailsElement;
  count: HTMLElement;
  body: HTMLElement;
  more: HTMLElement;
  rows: Map<number, { row: HTMLElement; text: HTMLElement }>;
}

/** Shows a room's tables until it is stopped. */
export function showTree(room: Room): () => void {
  const { components } = room.schema;
  const tables: [string, string, Table<unknown>][] = components.map((component) => [
    component.name,
    kindOf(component),
    room.state[component.name] as Table<unknown>,
  ]);
  tables.unshift(["entities", "who owns what", room.entities as Table<unknown>]);
  const branches = tables.map(([name, kind, table]) => makeBranch(name, kind, table));
  byId("tree").replaceChildren(...branches.map(({ details }) => details));
  const update = () => {
    for (const branch of branches) {
      updateBranch(room, branch);
    }
  };
  const timer = setInterval(() => document.hidden || update(), EVERY_MS);
  update();
  return () => clearInterval(timer);
}

const kinds = ["packed", "opaque", "props"];
const policies = ["server", "owner", "members", "host"];
const scopes = ["everyone", "the owner", "the team"];

function kindOf({ kind, write, scope }: { kind: number; write: number; scope: number }): string {
  return `${kinds[kind]}, written by ${policies[write]}, seen by ${scopes[scope]}`;
}

function makeBranch(name: string, kind: string, table: Table<unknown>): Branch {
  const count = element("span", { class: "count" });
  const body = element("tbody");
  const more = element("p", { class: "hint" });
  const summary = element(
    "summary",
    {},
    element("b", {}, name),
    " ",
    element("span", { class: "hint" }, kind),
    count,
  );
  const grid = element("table", { class: "values", "aria-label": name }, body);
  const attributes = { class: "branch", open: true, "data-component": name };
  const details = element("details", attributes, summary, grid, more);
  return { name, table, version: -1, details, count, body, more, rows: new Map() };
}

function updateBranch(room: Room, branch: Branch): void {
  const { table, rows, details } = branch;
  if (branch.version === table.version) {
    return;
  }
  setText(branch.count, String(table.size));
  if (!details.open) {
    return;
  }
  const isFirst = branch.version === -1;
  branch.version = table.version;
  const shown = new Set<number>();
  for (const [entity, value] of table) {
    if (shown.size === ROWS_MAX) {
      break;
    }
    shown.add(entity);
    const text = branch.name === "entities" ? owner(room, value) : show(value);
    const there = rows.get(entity);
    if (!there) {
      addRow(room, branch, entity, text, isFirst);
    } else if (there.text.textContent !== text) {
      there.text.textContent = text;
      flash(there.row);
    }
  }
  for (const [entity, { row }] of rows) {
    if (!shown.has(entity)) {
      row.remove();
      rows.delete(entity);
    }
  }
  const left = table.size - shown.size;
  setText(branch.more, left > 0 ? `… and ${left} more` : table.size === 0 ? "no values" : "");
}

function addRow(room: Room, branch: Branch, entity: number, value: string, isFirst: boolean): void {
  const text = element("td", {}, value);
  const label = entity === 0 ? "0, the room" : entity === room.entity ? `${entity}, you` : entity;
  const row = element(
    "tr",
    { "data-entity": entity },
    element("th", { scope: "row" }, label),
    text,
  );
  // Entities keep their order, whenever they came.
  const next = [...branch.body.children].find(
    (there) => Number((there as HTMLElement).dataset.entity) > entity,
  );
  branch.body.insertBefore(row, next ?? null);
  branch.rows.set(entity, { row, text });
  if (!isFirst) {
    flash(row);
  }
}

function owner(room: Room, value: unknown): string {
  const { owner: member } = value as { owner: number };
  return member === 0
    ? "the room's"
    : member === room.member
      ? `yours, member ${member}`
      : `member ${member}`;
}

function flash(row: HTMLElement): void {
  row.classList.add("changed");
  setTimeout(() => row.classList.remove("changed"), FLASH_MS);
}
