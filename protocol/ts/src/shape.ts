import type { PropValue } from "./bytes.js";
import type { Row } from "./rows.js";
import type { Schema } from "./schema.js";

/** What code knows of a room type: the values of its components, its input row, its topics. */
export interface Shape {
  state: Record<string, unknown>;
  input?: Row;
  topics?: string;
}

/** A room type of which nothing is known. */
// biome-ignore lint/suspicious/noExplicitAny: whoever joins by a bare name knows the values
export type AnyShape = { state: Record<string, any>; input: Record<string, any>; topics: string };

/** The topics of a shape. */
export type TopicOf<S extends Shape> = S["topics"] extends string ? S["topics"] : string;

/** The input row of a shape. */
export type InputOf<S extends Shape> = S["input"] extends Row ? S["input"] : Row;

/** The components of a shape, by name. */
export type ComponentOf<S extends Shape> = keyof S["state"] & string;

/** What may be written to a component: rows in part, texts and bytes whole, properties by key. */
export type Writable<V> = V extends string | Uint8Array
  ? V
  : V extends object
    ? { [K in keyof V]?: V[K] | null }
    : PropValue;

/** A room type with what the code that uses it relies on. `tickloom codegen ts` writes these. */
export interface RoomType<S extends Shape = AnyShape> {
  readonly name: string;
  /** `"component"`, `"component.field"`, `"input.field"`, `"#topic"`. */
  readonly needs: readonly string[];
  /** Never there: it carries the shape. */
  readonly shape?: S;
  /** Only {@link roomType} brings it: who joins by a bare name does not load it. @internal */
  _warn?(schema: Schema): void;
}

/** Names a room type, and what code needs of it: what a server lacks is warned of at the join. */
export const roomType = <S extends Shape>(
  name: string,
  needs: readonly string[] = [],
): RoomType<S> => ({ name, needs, _warn: warnOfMissing });

/** Says once what a server's rooms of this type lack of what code needs. */
function warnOfMissing(this: RoomType, schema: Schema): void {
  const missing = this.needs.filter((need) => {
    const [path = "", field] = need.split(".");
    if (path[0] === "#") {
      return !schema.topic(path.slice(1));
    }
    const fields = path === "input" ? schema.input.fields : schema.component(path)?.fields;
    return !fields || (field && !fields.some((there) => there.name === field));
  });
  if (missing.length) {
    console.warn(`tickloom: rooms of type ${this.name} have no ${missing.join(", ")} here`);
  }
}
