// What went wrong, for people.

import { TickloomError } from "@tickloom/client";

/** The client came back to its seat over another connection, SPEC.md section 12. */
const CLOSE_REPLACED = 4500;

const REPLACED = "You are in this room in another tab or window, which took over from this one.";

const sentences: Record<string, string> = {
  RoomFull: "This room is full. Try again in a while, or take another room.",
  ServerFull: "The server is full or busy. Try again in a while.",
  RoomLocked: "This room takes nobody else.",
  WrongPassword: "This room is private, and this is not its password.",
  UnknownRoom: "There is no room of this name. It may have ended.",
  RoomExists: "There is a room of this name already.",
  UnknownRoomType: "This server does not offer rooms of this type.",
  BadRoomName: "This is not a name that a room can have.",
  Busy: "Too much was said at once. Try again in a moment.",
  Conflict: "Somebody else changed it at the same time.",
  Timeout: "The server did not answer in time.",
  Lost: "The connection broke before the answer came.",
  OfflineFull: "There is no connection, and no more can be kept until it is back.",
  Left: "You are not in the room any more.",
};

/** Why a seat is gone, for people; nothing when they gave it back themselves. */
export function goodbye({ reason, message }: { reason: string; message: string }): string {
  switch (reason) {
    case "Asked":
      return "";
    case "Kicked":
      return message ? `You were sent away: ${message}` : "You were sent away.";
    case "Replaced":
      return REPLACED;
    case "RoomEnded":
      return message || "The room has ended.";
    default:
      return message || "The seat is gone, and there is no other.";
  }
}

/** One sentence about an error, of the client or any other. */
export function sentence(error: unknown): string {
  if (!(error instanceof TickloomError)) {
    return error instanceof Error ? error.message : String(error);
  }
  const { code, message, closeCode } = error;
  if (closeCode === CLOSE_REPLACED) {
    return REPLACED;
  }
  const known = sentences[code];
  if (known) {
    return error.retryMs > 0 ? `${known} (${Math.ceil(error.retryMs / 1000)} s)` : known;
  }
  return message || code;
}
