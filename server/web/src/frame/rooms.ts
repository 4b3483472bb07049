// What the server says of its rooms over plain HTTP.

/** A room that is listed. */
export interface ListedRoom {
  type: string;
  name: string;
  members: number;
  members_max: number;
  spectators: number;
  seats_free: number;
  locked: boolean;
  has_password: boolean;
}

/** The listed rooms, the fullest first. */
export async function listRooms(query = ""): Promise<{ rooms: ListedRoom[]; count: number }> {
  return await ask(`api/rooms${query}`);
}

/** Fetches JSON; fails with a sentence. */
export async function ask<T>(path: string): Promise<T> {
  const answer = await fetch(path, { headers: { accept: "application/json" } }).catch(() => {
    throw new Error("The server does not answer.");
  });
  if (!answer.ok) {
    throw new Error(`The server answered /${path} with ${answer.status}.`);
  }
  return (await answer.json()) as T;
}

/** Runs something now and then again and again, while somebody looks. */
export function whileSeen(everyMs: number, run: () => void): void {
  run();
  setInterval(() => document.hidden || run(), everyMs);
  document.addEventListener("visibilitychange", () => document.hidden || run());
}
