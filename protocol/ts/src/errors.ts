import type { RefusalCode } from "./wire.gen.js";

/**
 * Why something was not done.
 *
 * - a refusal code of SPEC.md section 4, such as `"RoomFull"`: the server said no;
 * - `"Closed"`: the connection ended and will not come back, see {@link TickloomError.closeCode};
 * - `"Lost"`: the connection broke before the answer came; it may have happened or not;
 * - `"Left"`: the seat it was about is gone;
 * - `"Timeout"`: no answer in time; it may still happen;
 * - `"OfflineFull"`: there is no connection, and no more is kept for the next one;
 * - `"UnknownName"`: the room has no component, field or topic of this name.
 */
export type ErrorCode =
  | RefusalCode
  | "Closed"
  | "Lost"
  | "Left"
  | "Timeout"
  | "OfflineFull"
  | "UnknownName";

/** Every error of this package, but what is thrown for arguments that make no sense. */
export class TickloomError extends Error {
  override readonly name = "TickloomError";

  constructor(
    /** What went wrong, for programs. */
    readonly code: ErrorCode,
    message: string,
    /** After how many milliseconds another try makes sense; 0 when it will not help. */
    readonly retryMs = 0,
    /** The WebSocket close code, of `"Closed"`. */
    readonly closeCode?: number,
  ) {
    super(message);
  }
}
