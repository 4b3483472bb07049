import type { JoinOptions } from "./options.js";
import type { Resume } from "./wire.gen.js";

// A ticket lies in the storage only while its page is being loaded again: a tab that is duplicated
// copies the storage, and two tabs with one ticket would take the seat from each other.

interface Kept {
  room: string;
  ticket: Resume & { token: Uint8Array };
}

const keyOf = (type: string, { room = "", name = "" }: JoinOptions): string =>
  `tickloom ${JSON.stringify([type, room, name])}`;

/** Keeps what brings a page back to its seat after it is loaded again. */
export function keepTicket(
  type: string,
  options: JoinOptions,
  room: string,
  ticket: Kept["ticket"],
): void {
  const kept = { room, ticket: { ...ticket, token: [...ticket.token] } };
  try {
    sessionStorage.setItem(keyOf(type, options), JSON.stringify(kept));
  } catch {
    // No storage, or none is left: the page takes another seat.
  }
}

/** Takes it out again. It knows nothing of the room's state, which comes as a snapshot. */
export function takeTicket(type: string, options: JoinOptions): Kept | undefined {
  try {
    const key = keyOf(type, options);
    const { room, ticket } = JSON.parse(sessionStorage.getItem(key) ?? "");
    sessionStorage.removeItem(key);
    const token = Uint8Array.from(ticket.token);
    return {
      room,
      ticket: { member: ticket.member, token, tick: 0, eventsFrom: 0, privateFrom: 0 },
    };
  } catch {
    return undefined;
  }
}
