// The shared board: one room of the type `state`, named in the address.

import type { Client, Room } from "@tickloom/client";
import { drawFrames } from "../frame/canvas.js";
import { byId, element, isTyping, setText } from "../frame/dom.js";
import { openLine } from "../frame/line.js";
import { copyAddress, roomInAddress, showRoomInAddress, visitorName } from "../frame/place.js";
import { askForName } from "../frame/rename.js";
import { goodbye, sentence } from "../frame/sentence.js";
import { complain, say } from "../frame/toast.js";
import { authorNumber, newRoomName } from "./author.js";
import { type BoardShape, boardType, description, readNote } from "./description.js";
import { Hand, type Tool } from "./hand.js";
import { History, type Item } from "./history.js";
import { Notes } from "./notes.js";
import { Painter } from "./paint.js";
import { Pen } from "./pen.js";
import { pens, widths } from "./pens.js";
import { People } from "./people.js";
import { savePicture } from "./picture.js";
import { Sheet } from "./sheet.js";
import type { Point } from "./stroke.js";
import { Viewport } from "./viewport.js";

/** The board of those who name none. */
const COMMON_ROOM = "common";
/** How far from a stroke the eraser takes it, in pixels. */
const ERASER_REACH = 10;
const ZOOM_STEP = 1.25;

const main = byId("main");
const canvas = byId<HTMLCanvasElement>("sheet");
const viewport = new Viewport();
const painter = new Painter(canvas);
const author = authorNumber();

/** The board, once there is a seat. */
interface Open {
  client: Client;
  room: Room<BoardShape>;
  sheet: Sheet;
  notes: Notes;
  people: People;
  history: History;
}
let open: Open | undefined;
let stroke: Pen | undefined;
let erased: Item[] = [];
let [pen, width] = [0, widths[0] as number];

const hand = new Hand(canvas, viewport, {
  onHover: (place) => point(place),
  onStart: (place) => start(place),
  onDraw: (places) => (hand.tool === "erase" ? places.forEach(erase) : stroke?.move(places)),
  onEnd: () => void finish(),
  onCancel: () => {
    stroke?.cancel();
    stroke = undefined;
    void finish();
  },
});

prepare();
void join();
drawFrames(canvas, ({ elapsedMs }) => {
  painter.paint(viewport, open?.sheet, stroke?.drawn ?? []);
  open?.people.move(viewport, elapsedMs);
  open?.notes.place();
  main.dataset.strokes = String(open?.sheet.count ?? 0);
  setText(byId("zoom"), `${Math.round(viewport.zoom * 100)} %`);
  byId<HTMLButtonElement>("undo").disabled = !open?.history.canUndo;
  byId<HTMLButtonElement>("redo").disabled = !open?.history.canRedo;
});

async function join(): Promise<void> {
  const [name, ownName] = [roomInAddress() || COMMON_ROOM, visitorName()];
  showRoomInAddress(name);
  setText(byId("room-name"), name);
  const client = openLine();
  try {
    const room = await client.join(boardType, {
      room: name,
      name: ownName,
      options: description,
    });
    if (!room.schema.component("stroke") || !room.schema.component("note")) {
      await room.leave();
      throw new Error("A room of this name is something else than a board. Open a new board.");
    }
    begin(client, room);
  } catch (error) {
    client.close();
    setText(byId("hint"), sentence(error));
  }
}

function begin(client: Client, room: Room<BoardShape>): void {
  const sheet = new Sheet(room, author);
  const history = new History(sheet);
  const notes = new Notes(room, viewport);
  const people = new People(room, (place) => viewport.lookAt(place));
  open = { client, room, sheet, notes, people, history };
  const tell = () => {
    main.dataset.tick = String(room.tick);
    byId("hint").hidden = sheet.count + sheet.others.size + room.state.note.size > 0;
  };
  room.on("tick", tell);
  room.on("resumed", ({ isSame }) =>
    say(isSame ? "You are back on the board." : "You are back; the board was loaded again."),
  );
  room.on("left", (why) => {
    client.close();
    open = undefined;
    setText(byId("hint"), goodbye(why) || "You left the board.");
    byId("hint").hidden = false;
  });
  setText(
    byId("hint"),
    "Nothing here yet: draw. Whoever opens this address sees it. A board lasts as long as somebody is on it.",
  );
  tell();
}

function point(place: Point | undefined): void {
  const cursor = place ? { ...place, shown: true } : { shown: false };
  open?.room.presence.set({ cursor });
}

function start(place: Point): void {
  if (!open) {
    return;
  }
  if (hand.tool === "note") {
    void open.notes.add(place);
    choose("draw");
  } else if (hand.tool === "erase") {
    erase(place);
  } else {
    const points = [place];
    const startedMs = Date.now();
    stroke = new Pen(open.sheet, viewport.zoom, { pen, width, author, startedMs, points });
  }
}

function erase(place: Point): void {
  if (!open) {
    return;
  }
  const { own, isOthers } = open.sheet.near(place, ERASER_REACH / viewport.zoom);
  open.sheet.hide(own.map(({ entity }) => entity as number));
  erased.push(...own);
  if (isOthers && erased.length === 0) {
    setText(byId("hint"), "You can erase what you drew yourself.");
    byId("hint").hidden = false;
  }
}

/** What the hand did is put on the board, or taken off. */
async function finish(): Promise<void> {
  if (!open) {
    return;
  }
  const { sheet, history } = open;
  try {
    if (stroke) {
      const { deed, isPut } = stroke.lift();
      stroke = undefined;
      history.add(deed);
      await isPut;
    } else if (erased.length > 0) {
      const items = erased;
      erased = [];
      history.add({ kind: "erase", items });
      await sheet.take(items);
    }
  } catch (error) {
    complain(sentence(error));
  }
}

function undo(): void {
  open?.history.undo().catch((error) => complain(sentence(error)));
}

function redo(): void {
  open?.history.redo().catch((error) => complain(sentence(error)));
}

function prepare(): void {
  byId<HTMLDetailsElement>("people-details").open = innerWidth > 832;
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-tool]")) {
    button.onclick = () => choose(button.dataset.tool as Tool);
  }
  pens.forEach(({ name }, at) => {
    const button = element("button", {
      type: "button",
      class: `pen pen-${at}`,
      "aria-label": name,
      "aria-pressed": at === pen ? "true" : "false",
      title: name,
    });
    button.onclick = () => {
      pen = at;
      press(byId("pens"), button);
      choose("draw");
    };
    byId("pens").append(button);
  });
  widths.forEach((value, at) => {
    const names = ["Thin", "Medium", "Thick"];
    const line = element("span", { class: `width width-${at}` });
    const button = element("button", {
      type: "button",
      "aria-label": names[at],
      "aria-pressed": value === width ? "true" : "false",
      title: names[at],
    });
    button.append(line);
    button.onclick = () => {
      width = value;
      press(byId("widths"), button);
      choose("draw");
    };
    byId("widths").append(button);
  });
  byId("undo").onclick = undo;
  byId("redo").onclick = redo;
  byId("zoom-in").onclick = () => hand.zoom(ZOOM_STEP);
  byId("zoom-out").onclick = () => hand.zoom(1 / ZOOM_STEP);
  byId("zoom-reset").onclick = () => {
    viewport.zoom = 1;
    viewport.lookAt({ x: 0, y: 0 });
  };
  byId("copy").onclick = async () =>
    (await copyAddress()) ? say("The link is copied.") : complain("The browser did not let it.");
  byId("save").onclick = save;
  byId("new").onclick = () => go(newRoomName());
  byId("rename").onclick = () =>
    askForName(() => void open?.room.leave().finally(() => location.reload()));
  addEventListener("hashchange", () => location.reload());
  addEventListener("keydown", handleKey);
}

function handleKey(event: KeyboardEvent): void {
  if (isTyping(event.target)) {
    return;
  }
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    (event.shiftKey ? redo : undo)();
  } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "y") {
    event.preventDefault();
    redo();
  } else if (!event.ctrlKey && !event.metaKey && !event.altKey) {
    const tools: Record<string, Tool> = { d: "draw", e: "erase", n: "note", m: "move" };
    const tool = tools[event.key.toLowerCase()];
    if (tool) choose(tool);
  }
}

function choose(tool: Tool): void {
  hand.tool = tool;
  canvas.dataset.tool = tool;
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-tool]")) {
    button.ariaPressed = String(button.dataset.tool === tool);
  }
}

/** One of a group of buttons is pressed. */
function press(group: HTMLElement, pressed: HTMLElement): void {
  for (const button of group.querySelectorAll("button")) {
    button.ariaPressed = String(button === pressed);
  }
}

async function save(): Promise<void> {
  if (!open) {
    return;
  }
  try {
    const notes = [...open.room.state.note.values()].map(readNote);
    await savePicture(open.sheet.drawn, notes, `board-${open.room.name}`);
  } catch (error) {
    complain(sentence(error));
  }
}

function go(room: string): void {
  location.hash = encodeURIComponent(room);
}
