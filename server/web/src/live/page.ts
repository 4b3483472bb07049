// Live: one room of the type `relay`, whose topics are a chat with history, comments that fly by,
// and quotes that the room's host publishes.

import type { Client, Room } from "@tickloom/client";
import { drawFrames } from "../frame/canvas.js";
import { byId, setText } from "../frame/dom.js";
import { openLine } from "../frame/line.js";
import { roomInAddress, showRoomInAddress, visitorName } from "../frame/place.js";
import { askForName } from "../frame/rename.js";
import { goodbye, sentence } from "../frame/sentence.js";
import { say } from "../frame/toast.js";
import { nameOf, readSaid, runChat } from "./chat.js";
import { drawClip } from "./clip.js";
import { Danmaku } from "./danmaku.js";
import { isHost, runQuotes } from "./quotes.js";

const COMMON_ROOM = "live";

const main = byId("main");
const danmaku = new Danmaku();
let room: Room | undefined;
let isPaused = false;
/** The clip's time, which is the server's while it is known. */
let clipMs = 0;

byId("pause").onclick = () => {
  isPaused = !isPaused;
  setText(byId("pause"), isPaused ? "Go on" : "Pause");
};
byId("rename").onclick = () =>
  askForName(() => void room?.leave().finally(() => location.reload()));
addEventListener("hashchange", () => location.reload());
drawFrames(byId<HTMLCanvasElement>("clip"), (frame) => {
  clipMs = isPaused ? clipMs : (room?.clock.serverNowMs ?? clipMs + frame.elapsedMs);
  drawClip(frame, clipMs);
  danmaku.draw(isPaused ? { ...frame, elapsedMs: 0 } : frame);
});
void join();

async function join(): Promise<void> {
  const [name, ownName] = [roomInAddress() || COMMON_ROOM, visitorName()];
  showRoomInAddress(name);
  const client = openLine();
  try {
    room = await client.join("relay", { room: name, name: ownName });
    if (!room.schema.topic("chat") || !room.schema.topic("quotes")) {
      await room.leave();
      throw new Error("Rooms of the type relay have no chat here.");
    }
    begin(client, room, ownName);
  } catch (error) {
    client.close();
    setText(byId("audience"), sentence(error));
  }
}

function begin(client: Client, joined: Room, ownName: string): void {
  runChat(joined, ownName);
  const stopQuotes = runQuotes(joined);
  joined.onEvent("danmaku", (event) => {
    const { text } = readSaid(event);
    if (text) {
      danmaku.add(text, event.from === joined.member);
      main.dataset.danmaku = text;
    }
  });
  fly(joined, ownName);
  let missedCount = 0;
  joined.on("missed", (count) => {
    missedCount += count;
    const messages = missedCount === 1 ? "1 message was" : `${missedCount} messages were`;
    setText(byId("missed"), `${messages} left out for you: this page or its line was too slow.`);
    byId("missed").hidden = false;
  });
  joined.on("resumed", ({ recovered }) =>
    say(
      recovered
        ? "You are back, and missed nothing."
        : "You are back; some of what was said is gone.",
    ),
  );
  joined.on("left", (why) => {
    client.close();
    stopQuotes();
    setText(byId("audience"), goodbye(why) || "You left.");
  });
  joined.on("tick", () => showAudience(joined));
  showAudience(joined);
}

function fly(joined: Room, ownName: string): void {
  const input = byId<HTMLInputElement>("danmaku-text");
  byId("danmaku-form").onsubmit = async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) {
      return;
    }
    input.value = "";
    setText(byId("danmaku-error"), "");
    try {
      await joined.request("danmaku", { text, by: ownName });
    } catch (error) {
      input.value ||= text;
      setText(byId("danmaku-error"), sentence(error));
    }
  };
}

function showAudience(joined: Room): void {
  const members = joined.state.name?.size ?? 0;
  main.dataset.members = String(members);
  setText(byId("audience"), members === 1 ? "You are the first here" : `${members} are here`);
  const entity = joined.state.host?.get(0)?.entity ?? 0;
  const owner = joined.entities.get(entity)?.owner ?? 0;
  main.dataset.host = String(isHost(joined));
  setText(byId("host"), `A market made up, ${feeder(joined, entity, owner)}`);
}

/** Who keeps the market going. */
function feeder(joined: Room, entity: number, owner: number): string {
  if (isHost(joined)) {
    return "fed by you: you are the host";
  }
  const name = nameOf(joined, owner, "nobody");
  return joined.state.away?.has(entity) ? `waiting for ${name} to come back` : `fed by ${name}`;
}
