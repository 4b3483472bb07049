// The front page: what this is, where things are, and live that the server answers. Its visitors
// are the members of a room, which is how it counts them.

import type { Room } from "@tickloom/client";
import { byId, element, setText } from "../frame/dom.js";
import { endpoint, openLine } from "../frame/line.js";
import { visitorName } from "../frame/place.js";
import { type ListedRoom, listRooms, whileSeen } from "../frame/rooms.js";
import { sentence } from "../frame/sentence.js";

const ROOM = "front-page";

setText(byId("endpoint"), endpoint());
setText(
  byId("snippet").firstElementChild as HTMLElement,
  `import { connect } from "${new URL("sdk.js", location.href)}";

const client = connect("${endpoint()}");
const room = await client.join("relay", { room: "lobby" });
room.onEvent("chat", (event) => console.log(event.from, event.text));
room.send("chat", "Hello, everybody");`,
);
whileSeen(4_000, showRooms);
whileSeen(4_000, showHealth);
void visit();

async function visit(): Promise<void> {
  const client = openLine();
  try {
    const room = await client.join("relay", { room: ROOM, name: visitorName() });
    const count = () => {
      const members = room.state.name?.size ?? 0;
      byId("main").dataset.members = String(members);
      setText(byId("visitors"), members === 1 ? "1, you" : String(members));
    };
    room.on("tick", count);
    count();
    whileSeen(1_000, () => showRoundTrip(room));
  } catch (error) {
    // The server may offer other types of rooms only: it answers all the same.
    setText(byId("visitors"), "not counted here");
    byId("visitors").title = sentence(error);
    client.close();
    document.documentElement.dataset.state = "open";
    setText(byId("line-text"), "Answers");
  }
}

function showRoundTrip(room: Room): void {
  const { rttMs } = room.clock;
  const text = rttMs === undefined ? "–" : `${rttMs.toFixed(rttMs < 10 ? 1 : 0)} ms`;
  setText(byId("round-trip"), room.status === "joined" ? text : "–");
}

async function showHealth(): Promise<void> {
  const answer = await fetch("readyz").catch(() => undefined);
  const text = answer ? (await answer.text()).trim() : "no answer";
  setText(byId("health"), answer?.ok ? "ready" : text);
}

async function showRooms(): Promise<void> {
  const empty = byId("rooms-empty");
  try {
    const { rooms, count } = await listRooms("?limit=12");
    setText(byId("rooms-count"), String(count));
    byId("rooms-body").replaceChildren(...rooms.map(row));
    byId("rooms-table").hidden = rooms.length === 0;
    const more = count - rooms.length;
    setText(
      empty,
      more > 0 ? `… and ${more} more.` : "No room is listed yet. Be the first: play in the arena.",
    );
    empty.hidden = rooms.length > 0 && more <= 0;
  } catch (error) {
    byId("rooms-table").hidden = true;
    setText(empty, sentence(error));
    empty.hidden = false;
  }
}

function row(room: ListedRoom): HTMLTableRowElement {
  const number = (value: number) => element("td", { class: "number" }, value);
  const closed = room.locked ? "locked" : room.has_password ? "private" : "full";
  const isOpen = !room.locked && !room.has_password && room.seats_free > 0;
  const join = element("a", { href: addressOf(room) }, `Join ${room.name}`);
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, room.name),
    element("td", {}, room.type),
    number(room.members),
    number(room.seats_free),
    element("td", {}, isOpen ? join : closed),
  );
}

/** The page that shows rooms of this type best. */
function addressOf({ type, name }: ListedRoom): string {
  const hash = `#${encodeURIComponent(name)}`;
  switch (type) {
    case "arena":
      return `arena${hash}`;
    case "world":
      return `arena?type=world${hash}`;
    default:
      return `playground?type=${encodeURIComponent(type)}${hash}`;
  }
}
