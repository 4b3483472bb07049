// The playground: a seat in any room, and everything that can be done with it.

import type { Client, JoinOptions, Room } from "@tickloom/client";
import { byId, element, setText } from "../frame/dom.js";
import { endpoint, openLine } from "../frame/line.js";
import { clip, rememberName, roomInAddress, visitorName } from "../frame/place.js";
import { sentence } from "../frame/sentence.js";
import { complain, say } from "../frame/toast.js";
import { openForms } from "./forms.js";
import { clearLog, note } from "./log.js";
import { Snippet } from "./snippet.js";
import { showTree } from "./tree.js";
import { type RoomTypeInfo, roomTypes, summary } from "./types.js";
import { readObject, showBody } from "./values.js";

const FIGURES_EVERY_MS = 250;
const KEPT = "tickloom.playground";
/** Fields of the form that outlive a reload of the page. */
const KEPT_FIELDS = ["type", "room", "name", "mode", "password", "options", "metadata", "filter"];

const main = byId("main");
const snippet = new Snippet();
let types: RoomTypeInfo[] = [];
let client: Client | undefined;
let stopTree: () => void = () => undefined;

void prepare();

async function prepare(): Promise<void> {
  byId("join-form").onsubmit = (event) => {
    event.preventDefault();
    void join();
  };
  byId("leave").onclick = () => void client?.room?.leave();
  byId("drop").onclick = () => {
    note("line", "You cut the connection");
    client?.drop();
  };
  byId("reload").onclick = () => {
    keepFields();
    location.reload();
  };
  byId("clear-log").onclick = clearLog;
  byId("copy-code").onclick = copyCode;
  byId<HTMLSelectElement>("type").onchange = showType;
  byId<HTMLInputElement>("name").value = visitorName();
  byId<HTMLInputElement>("room").value = roomInAddress();
  setInterval(showFigures, FIGURES_EVERY_MS);
  const told = await roomTypes();
  types = told.types;
  const options = types.map(({ name }) => element("option", { value: name }, name));
  byId("type").replaceChildren(...options);
  const wanted = new URL(location.href).searchParams.get("type") ?? "relay";
  byId<HTMLSelectElement>("type").value = types.some(({ name }) => name === wanted)
    ? wanted
    : (types[0]?.name ?? "");
  const isBack = takeFields();
  showType();
  if (!told.isTold) {
    setText(byId("type-text"), "The server does not say which types it offers; these are usual.");
  }
  if (isBack) {
    note("line", "The page was loaded again");
    await join();
  }
}

function showType(): void {
  const name = byId<HTMLSelectElement>("type").value;
  const type = types.find((there) => there.name === name);
  setText(byId("type-text"), type ? summary(type) : "");
}

/** What the form asks for. */
function readForm(): { type: string; mode: string; options: JoinOptions } {
  const text = (id: string) => byId<HTMLInputElement>(id).value;
  const mode = text("mode");
  const options: JoinOptions = {
    room: text("room").trim() || undefined,
    name: clip(text("name")) || undefined,
    mode: mode === "only" ? "join" : undefined,
    password: text("password") || undefined,
    options: readObject(text("options"), "Options"),
    metadata: readObject(text("metadata"), "Metadata") as JoinOptions["metadata"],
    filter: readObject(
      text("filter"),
      "The metadata that a room must have",
    ) as JoinOptions["filter"],
    remember: true,
  };
  return { type: text("type"), mode, options };
}

async function join(): Promise<void> {
  setText(byId("join-error"), "");
  byId<HTMLButtonElement>("join").disabled = true;
  let opened: Client | undefined;
  try {
    const { type, mode, options } = readForm();
    opened = client = openLine();
    follow(opened);
    const room = await enter(opened, type, mode, options);
    rememberName(options.name ?? "");
    const call = mode === "create" || mode === "spectate" ? mode : "join";
    snippet.begin(endpoint(), call, type, { ...options, room: room.name, remember: undefined });
    begin(room);
  } catch (error) {
    opened?.close();
    setText(byId("join-error"), sentence(error));
    note("error", sentence(error));
    byId<HTMLButtonElement>("join").disabled = false;
  }
}

function enter(to: Client, type: string, mode: string, options: JoinOptions): Promise<Room> {
  if (mode === "create") {
    return to.create(type, options);
  }
  if (mode === "spectate") {
    const { room } = options;
    if (!room) {
      throw new Error("Who only watches has to name the room.");
    }
    return to.spectate(type, { ...options, room });
  }
  return to.join(type, options);
}

/** Shows the states of the line, and writes them down. */
function follow(opened: Client): void {
  const show = () => {
    for (const state of ["connecting", "open", "waiting", "closed"]) {
      document
        .getElementById(`state-${state}`)
        ?.classList.toggle("current", state === opened.state);
    }
  };
  opened.on("state", (now, before) => {
    note("line", `The connection went from ${before} to ${now}`);
    show();
  });
  opened.on("lost", () => note("line", "There has been no connection for 5 s"));
  opened.on("restored", () => note("line", "There is a connection again"));
  opened.on("closed", (error) => note("line", `Closed: ${error.message}`));
  opened.on("congested", (is) => note("line", is ? "The socket is full" : "The socket has room"));
  show();
}

function begin(room: Room): void {
  const url = new URL(location.href);
  url.searchParams.set("type", room.type);
  url.hash = encodeURIComponent(room.name);
  history.replaceState(null, "", url);
  byId<HTMLInputElement>("room").value = room.name;
  const seat = room.isSpectator ? "a spectator" : `member ${room.member}, entity ${room.entity}`;
  note("line", `You have a seat in ${room.type} ${room.name}: ${seat}`);
  setSeated(true);
  showCode();
  stopTree = showTree(room);
  openForms(room, snippet, showCode);
  for (const { name } of room.schema.topics) {
    room.onEvent(name, ({ bytes, from, isHistory }) => {
      const who = from === 0 ? "the room" : `member ${from}`;
      const when = isHistory ? " (before you came)" : "";
      note("event", `${name} from ${who}${when}: ${showBody(bytes)}`, bytes.length);
    });
  }
  room.on("tick", ({ isSnapshot, tick }) => {
    main.dataset.tick = String(tick);
    main.dataset.members = String(membersOf(room));
    if (isSnapshot) note("line", `A snapshot of tick ${tick}`);
  });
  main.dataset.members = String(membersOf(room));
  room.on("dropped", () => note("line", "The seat is kept, but there is no connection"));
  room.on("resumed", (how) => tellResumed(how));
  room.on("missed", (count) => note("error", `${count} events were left out for you`));
  room.on("refused", ({ code, message }) => note("error", `Refused: ${code}, ${message}`));
  room.on("left", ({ reason, message }) => {
    note("line", `The seat is gone: ${reason}${message ? `, ${message}` : ""}`);
    end();
  });
}

function tellResumed({ isSame, recovered }: { isSame: boolean; recovered: boolean }): void {
  const text = !isSame
    ? "Back in another seat: the old one was gone, everything came anew."
    : recovered
      ? "Back in the same seat, and nothing that was said is missing."
      : "Back in the same seat; some of what was said is missing.";
  setText(byId("resumed"), text);
  byId("resumed").dataset.recovered = String(recovered);
  note("line", text);
}

/** Members are the entities with an owner that has a seat: each has at least its own. */
function membersOf(room: Room): number {
  const owners = new Set<number>();
  for (const { owner } of room.entities.values()) {
    owners.add(owner);
  }
  owners.delete(0);
  return owners.size;
}

function end(): void {
  stopTree();
  client?.close();
  byId("tree").replaceChildren();
  setSeated(false);
}

function setSeated(is: boolean): void {
  byId<HTMLButtonElement>("join").disabled = is;
  for (const id of ["leave", "drop", "reload"]) {
    byId<HTMLButtonElement>(id).disabled = !is;
  }
  byId("tree-empty").hidden = is;
  byId("doings").hidden = !is;
}

function showFigures(): void {
  const room = client?.room;
  if (!client || document.hidden) {
    return;
  }
  const { stats } = client;
  const put = (id: string, text: string) => setText(byId(`figure-${id}`), text);
  const rttMs = room?.clock.rttMs;
  put("seat", room ? `${room.status}, member ${room.member}, entity ${room.entity}` : "none");
  put("tick", room ? String(room.tick) : "–");
  put("rtt", rttMs === undefined ? "–" : `${rttMs.toFixed(1)} ms`);
  put("in", `${stats.bytesIn} B, ${stats.messagesIn} messages`);
  put("out", `${stats.bytesOut} B, ${stats.messagesOut} messages`);
  put("deltas", `${stats.snapshots}, ${stats.deltas}`);
  put("connections", `${stats.connections}, ${stats.resumed}, ${stats.recovered}`);
}

function showCode(): void {
  setText(byId("code").firstElementChild as HTMLElement, snippet.text);
}

async function copyCode(): Promise<void> {
  try {
    await navigator.clipboard.writeText(snippet.text);
    say("The code is copied.");
  } catch {
    complain("The browser did not let it.");
  }
}

function keepFields(): void {
  const values = KEPT_FIELDS.map((id) => byId<HTMLInputElement>(id).value);
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(values));
  } catch {
    // Without storage the page comes back without a seat.
  }
}

/** Fills the form as it was before the page was loaded again; says whether it was. */
function takeFields(): boolean {
  try {
    const kept = sessionStorage.getItem(KEPT);
    sessionStorage.removeItem(KEPT);
    const values = kept === null ? undefined : (JSON.parse(kept) as string[]);
    KEPT_FIELDS.forEach((id, at) => {
      const value = values?.[at];
      if (value !== undefined) byId<HTMLInputElement>(id).value = value;
    });
    return values !== undefined;
  } catch {
    return false;
  }
}
