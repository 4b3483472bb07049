/** What a room is made of (SPEC.md section 5), as `Joined` describes it. */
import { RowCodec } from "./rows.js";
import type { ComponentDesc, RoomSchema, TopicDesc } from "./wire.gen.js";

/** Kinds of components, by their numbers on the wire. */
export const PACKED = 0;
export const OPAQUE = 1;
export const PROPS = 2;

/** A component; its id is its position. */
export interface Component extends ComponentDesc {
  id: number;
  /** Of a packed component. */
  rows?: RowCodec;
}

/** A topic; its id is its position. */
export interface Topic extends TopicDesc {
  id: number;
}

/** A room's description, looked up by name. */
export class Schema {
  readonly components: readonly Component[];
  readonly topics: readonly Topic[];
  /** The layout of an input row; without fields in a room that takes no inputs. */
  readonly input: RowCodec;
  /** Who may add and remove entities of the room: an index of {@link writePolicy}. */
  readonly entities: number;
  /** In rooms whose members get what is around them. */
  readonly interest: RoomSchema["interest"];
  /** Cells that a room with interest has; 0 in others. */
  readonly cellsCount: number;

  /** `compile` says whether to try to compile the rows' readers. */
  constructor({ components, topics, input, entities, interest }: RoomSchema, compile = true) {
    this.components = components.map((desc, id) => {
      const rows = desc.kind === PACKED ? new RowCodec(desc.fields, compile) : undefined;
      return { ...desc, id, rows };
    });
    this.topics = topics.map((desc, id) => ({ ...desc, id }));
    this.input = new RowCodec(input, compile);
    this.entities = entities;
    this.interest = interest;
    const side = (index: number) => {
      const field = components[interest!.component]?.fields[index];
      return field ? Math.max(Math.ceil((field.max - field.min) / interest!.cellSize), 1) : 0;
    };
    this.cellsCount = interest ? side(interest.x) * side(interest.y) : 0;
  }

  component(name: string): Component | undefined {
    return this.components.find((component) => component.name === name);
  }

  topic(name: string): Topic | undefined {
    return this.topics.find((topic) => topic.name === name);
  }
}
