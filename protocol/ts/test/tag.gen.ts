// Room types of this server. Written by `tickloom codegen ts`; do not edit.
import { type Props, type RoomType, roomType } from "@tickloom/client";

/** A room of the type `tag`: 20 Hz. */
export interface Tag {
  state: {
    /** Packed; written by the server. */
    place: {
      /** Quant16, 0 to 40; moves in straight lines */
      x: number;
      /** Quant16, 0 to 40; moves in straight lines */
      y: number;
    };
    /** Packed; written by the server. */
    score: {
      /** F32 */
      seconds: number;
    };
    /** Props; written by the server. */
    game: Props;
  };
  input: {
    /** Quant8, -1 to 1; moves in straight lines */
    right: number;
    /** Quant8, -1 to 1; moves in straight lines */
    up: number;
  };
  topics: never;
}
export const tag: RoomType<Tag> = roomType("tag", [
  "place.x",
  "place.y",
  "score.seconds",
  "game",
  "input.right",
  "input.up",
]);
