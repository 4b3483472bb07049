// Form fields for rows of numbers: the input row and packed components.

import type { Row } from "@tickloom/client";
import { element } from "../frame/dom.js";

/** A field of a row, as the schema has it. */
export interface RowField {
  name: string;
  type: number;
  min: number;
  max: number;
}

const FLOAT = 6;
const BOOL = 7;
const QUANT_FIRST = 8;
const QUANT_LAST = 11;
/** From which number to which, by the type's number. */
const RANGES: Record<number, [number, number]> = {
  0: [0, 255],
  1: [-128, 127],
  2: [0, 65_535],
  3: [-32_768, 32_767],
  4: [0, 4_294_967_295],
  5: [-2_147_483_648, 2_147_483_647],
  12: [0, 65_535],
};

/** Puts a field for each number into a place, with these values. */
export function putFields(
  place: HTMLElement,
  fields: readonly RowField[],
  prefix: string,
  values: Row = {},
): void {
  place.replaceChildren(
    ...fields.map((field) => {
      const id = `${prefix}-${field.name}`;
      const value = values[field.name];
      if (field.type === BOOL) {
        const box = element("input", { type: "checkbox", id, "data-field": field.name });
        box.checked = value === true;
        return element("label", { class: "check" }, box, field.name);
      }
      const [min, max] = rangeOf(field);
      const input = element("input", {
        type: "number",
        id,
        "data-field": field.name,
        min: Number.isFinite(min) ? min : undefined,
        max: Number.isFinite(max) ? max : undefined,
        step: isWhole(field) ? 1 : "any",
        value: value === undefined ? Math.max(0, Number.isFinite(min) ? min : 0) : Number(value),
        required: true,
      });
      const range = Number.isFinite(min) ? ` (${round(min)} to ${round(max)})` : "";
      return element(
        "div",
        { class: "field" },
        element("label", { for: id }, field.name, element("span", { class: "hint" }, range)),
        input,
      );
    }),
  );
}

/** What the fields in a place say. */
export function readFields(place: HTMLElement): Row {
  const row: Row = {};
  for (const input of place.querySelectorAll<HTMLInputElement>("input[data-field]")) {
    row[input.dataset.field as string] =
      input.type === "checkbox" ? input.checked : input.valueAsNumber;
  }
  return row;
}

function rangeOf({ type, min, max }: RowField): [number, number] {
  if (type >= QUANT_FIRST && type <= QUANT_LAST) {
    return [min, max];
  }
  return RANGES[type] ?? [-Infinity, Infinity];
}

function isWhole({ type }: RowField): boolean {
  return type < FLOAT || type > QUANT_LAST;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
