// Which types of rooms the server offers.

import { ask } from "../frame/rooms.js";

/** What `/api/room-types` says of a type, as far as this page shows it. */
export interface RoomTypeInfo {
  name: string;
  describe?: "server" | "joiner";
  members_max?: number;
  spectators_max?: number;
  tick_rate?: number;
  flush?: string;
  components?: { name: string; kind: string; scope: string; write: string }[];
  input?: { name: string }[];
  topics?: { name: string; publish: string; history: boolean }[];
  interest?: { cell_size: number };
}

/** The types; those that servers have by default when this one does not say. */
export async function roomTypes(): Promise<{ types: RoomTypeInfo[]; isTold: boolean }> {
  try {
    const { room_types } = await ask<{ room_types: RoomTypeInfo[] }>("api/room-types");
    return { types: room_types, isTold: true };
  } catch {
    const names = ["arena", "relay", "state", "world"];
    return { types: names.map((name) => ({ name })), isTold: false };
  }
}

/** A sentence or two about a type. */
export function summary(type: RoomTypeInfo): string {
  const parts: string[] = [];
  if (type.tick_rate) {
    parts.push(`ticks ${type.tick_rate} times a second`);
  } else if (type.flush) {
    parts.push(`sends changes at once, then at most every ${type.flush}`);
  }
  if (type.members_max) {
    parts.push(`up to ${type.members_max} members`);
  }
  if (type.interest) {
    parts.push("members are sent what is around them");
  }
  const list = (what: string, items: { name: string }[] | undefined) => {
    if (items && items.length > 0) {
      parts.push(`${what}: ${items.map(({ name }) => name).join(", ")}`);
    }
  };
  list("components", type.components);
  list("input", type.input);
  list("topics", type.topics);
  if (type.describe === "joiner") {
    parts.push("the first to join may describe it in the options");
  }
  return parts.length > 0 ? `${parts.join("; ")}.` : "";
}
