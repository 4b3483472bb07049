// Room types of this server. Written by `tickloom codegen ts`; do not edit.
import { type Props, type RoomType, roomType } from "@tickloom/client";

/** A room of the type `arena`: 20 Hz. */
export interface Arena {
  state: {
    /** Packed; written by the server. */
    body: {
      /** Quant16, -1024 to 1024; moves in straight lines */
      x: number;
      /** Quant16, -1024 to 1024; moves in straight lines */
      y: number;
      /** Quant8, 0 to 6.283185307179586; turns the short way round */
      yaw: number;
    };
    /** Packed; written by the server. */
    look: {
      /** U8, 0 to 255 */
      kind: number;
      /** U8, 0 to 255 */
      colour: number;
    };
    /** Packed; written by the server. */
    vitals: {
      /** U8, 0 to 255 */
      hp: number;
      /** U16, 0 to 65535 */
      score: number;
      /** U8, 0 to 255 */
      streak: number;
    };
    /** Props; written by the server. */
    profile: Props;
    /** Packed; written by the server; only the entity's owner is sent it. */
    weapon: {
      /** U8, 0 to 255 */
      ammo: number;
      /** U8, 0 to 255 */
      cooldown: number;
    };
    /** application/x-tickloom-arena-map, up to 65B; written by the server. */
    map: Uint8Array;
  };
  input: {
    /** Quant8, -1 to 1; moves in straight lines */
    move_x: number;
    /** Quant8, -1 to 1; moves in straight lines */
    move_y: number;
    /** Quant8, 0 to 6.283185307179586; turns the short way round */
    aim: number;
    /** U8, 0 to 255 */
    buttons: number;
  };
  topics: never;
}
export const arena: RoomType<Arena> = roomType("arena", [
  "body.x",
  "body.y",
  "body.yaw",
  "look.kind",
  "look.colour",
  "vitals.hp",
  "vitals.score",
  "vitals.streak",
  "profile",
  "weapon.ammo",
  "weapon.cooldown",
  "map",
  "input.move_x",
  "input.move_y",
  "input.aim",
  "input.buttons",
]);

/** A room of the type `relay`: on change, at most every 50 ms. Its first joiner may describe it. */
export interface Relay {
  state: {
    /** text/plain, up to 64B; written by the server. */
    name: string;
    /** Packed; written by the server. */
    host: {
      /** EntityRef: the id of an entity */
      entity: number;
    };
    /** Packed; written by the server. */
    away: {
      /** Bool */
      away: boolean;
    };
  };
  topics: "chat" | "danmaku" | "quotes" | "signal";
}
export const relay: RoomType<Relay> = roomType("relay", [
  "name",
  "host.entity",
  "away.away",
  "#chat",
  "#danmaku",
  "#quotes",
  "#signal",
]);

/** A room of the type `state`: on change, at most every 50 ms. Its first joiner may describe it. */
export interface State {
  state: {
    /** text/plain, up to 64B; written by the server. */
    name: string;
    /** Packed; written by the server. */
    host: {
      /** EntityRef: the id of an entity */
      entity: number;
    };
    /** Packed; written by the entity's owner. */
    cursor: {
      /** Quant16, 0 to 65535; moves in straight lines */
      x: number;
      /** Quant16, 0 to 65535; moves in straight lines */
      y: number;
    };
    /** Props; written by the entity's owner. */
    presence: Props;
    /** Props; written by every member. */
    shared: Props;
    /** application/octet-stream, up to 4KiB; written by every member. */
    item: Uint8Array;
    /** Props; written by every member; a tree by `parent` and `order`. */
    layer: Props;
    /** Packed; written by the server. */
    away: {
      /** Bool */
      away: boolean;
    };
  };
  topics: "event";
}
export const state: RoomType<State> = roomType("state", [
  "name",
  "host.entity",
  "cursor.x",
  "cursor.y",
  "presence",
  "shared",
  "item",
  "layer",
  "away.away",
  "#event",
]);

/** A room of the type `world`: 20 Hz. Members are sent what is around them. */
export interface World {
  state: {
    /** Packed; written by the server; from far away it comes more rarely. */
    body: {
      /** Quant16, -1024 to 1024; moves in straight lines */
      x: number;
      /** Quant16, -1024 to 1024; moves in straight lines */
      y: number;
      /** Quant8, 0 to 6.283185307179586; turns the short way round */
      yaw: number;
    };
    /** Packed; written by the server. */
    look: {
      /** U8, 0 to 255 */
      kind: number;
      /** U8, 0 to 255 */
      colour: number;
    };
    /** Props; written by the server. */
    profile: Props;
  };
  input: {
    /** Quant8, -1 to 1; moves in straight lines */
    move_x: number;
    /** Quant8, -1 to 1; moves in straight lines */
    move_y: number;
    /** Quant8, 0 to 6.283185307179586; turns the short way round */
    aim: number;
    /** U8, 0 to 255 */
    buttons: number;
  };
  topics: never;
}
export const world: RoomType<World> = roomType("world", [
  "body.x",
  "body.y",
  "body.yaw",
  "look.kind",
  "look.colour",
  "profile",
  "input.move_x",
  "input.move_y",
  "input.aim",
  "input.buttons",
]);
