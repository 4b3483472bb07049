// The chat: what was said before this page came, and what is said now.

import type { Room, RoomEvent } from "@tickloom/client";
import { byId, element, setText } from "../frame/dom.js";
import { textHue } from "../frame/palette.js";
import { sentence } from "../frame/sentence.js";

const LINES_MAX = 200;
export const TEXT_MAX = 300;

/** What travels: the text, and what its author is called once nobody can ask the room any more. */
export interface Said {
  text: string;
  by: string;
}

/** Reads what anybody may have sent. */
export function readSaid(event: RoomEvent): Said {
  const json = jsonOf(event);
  const isSaid = typeof json === "object" && json !== null;
  const said: { text?: unknown; by?: unknown } = isSaid ? json : { text: event.text };
  return {
    text: String(said.text ?? "").slice(0, TEXT_MAX),
    by: String(said.by ?? "").slice(0, 64),
  };
}

/** What an event says as JSON; undefined when it is none. */
export function jsonOf(event: RoomEvent): unknown {
  try {
    return event.json;
  } catch {
    return undefined;
  }
}

/** What a member is called: the room knows best. */
export function nameOf(room: Room, member: number, otherwise: string): string {
  for (const [entity, { owner }] of room.entities) {
    const name = owner === member ? room.state.name?.get(entity) : undefined;
    if (name) {
      return name;
    }
  }
  return otherwise || `member ${member}`;
}

export function runChat(room: Room, ownName: string): void {
  const [list, box] = [byId("chat"), byId("chat-log")];
  list.replaceChildren();
  let isOld = false;
  room.onEvent("chat", (event) => {
    if (isOld && !event.isHistory) {
      list.append(element("li", { class: "divider" }, "You came here"));
    }
    isOld = event.isHistory;
    const isAtEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 40;
    list.append(line(room, event));
    while (list.childElementCount > LINES_MAX) {
      list.firstElementChild?.remove();
    }
    if (isAtEnd) {
      box.scrollTop = box.scrollHeight;
    }
  });
  const input = byId<HTMLInputElement>("chat-text");
  byId("chat-form").onsubmit = (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text) {
      void send(room, { text, by: ownName }, input);
    }
  };
}

async function send(room: Room, said: Said, input: HTMLInputElement): Promise<void> {
  input.value = "";
  setText(byId("chat-error"), "");
  try {
    await room.request("chat", said);
  } catch (error) {
    // What was typed is not lost, unless something newer was.
    input.value ||= said.text;
    setText(byId("chat-error"), sentence(error));
  }
}

function line(room: Room, event: RoomEvent): HTMLLIElement {
  const { text, by } = readSaid(event);
  const name = element("b", {}, nameOf(room, event.from, by));
  name.style.color = textHue((event.from * 67) % 256);
  const isOwn = event.from === room.member;
  const classes = [isOwn ? "own" : "", event.isHistory ? "old" : ""].join(" ").trim();
  return element("li", { class: classes || undefined }, name, ` ${text}`);
}
