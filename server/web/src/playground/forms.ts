// Forms for everything a member may do: input, publish, write, configure, kick.

import type { Changes, Component, Room } from "@tickloom/client";
import { byId, element } from "../frame/dom.js";
import { sentence } from "../frame/sentence.js";
import { putFields, readFields } from "./fields.js";
import { note } from "./log.js";
import { literal, type Snippet } from "./snippet.js";
import { readBody, readHex, readNumbers, readObject } from "./values.js";

const PACKED = 0;
const OPAQUE = 1;

/** Prepares the forms for a room. `onCode` is told when the snippet has another line. */
export function openForms(room: Room, snippet: Snippet, onCode: () => void): void {
  const doing: Doing = { room, snippet, onCode };
  openInput(doing);
  openPublish(doing);
  openWrite(doing);
  openHost(doing);
}

interface Doing {
  room: Room;
  snippet: Snippet;
  onCode: () => void;
}

/** Does something, writes down what it was, and what came of it. */
async function act(
  { snippet, onCode }: Doing,
  what: string,
  code: string,
  run: () => Promise<unknown> | unknown,
  bytes?: number,
): Promise<void> {
  try {
    const answer = run();
    snippet.add(code);
    onCode();
    note("sent", what, bytes);
    const value = await answer;
    if (answer instanceof Promise) {
      note("answer", `${what}: accepted${told(value)}`);
    }
  } catch (error) {
    note("error", `${what}: ${sentence(error)}`);
  }
}

/** What an answer says beside yes. */
function told(answer: unknown): string {
  const { tick, entities } = (answer ?? {}) as { tick?: number; entities?: readonly number[] };
  const added = entities && entities.length > 0 ? `, as entity ${entities.join(", ")}` : "";
  return tick === undefined ? "" : ` with tick ${tick}${added}`;
}

/** Runs a handler when a form is sent; what it cannot read is told. */
function onSubmit(id: string, handle: (submitter: string) => void): void {
  byId(id).onsubmit = (event) => {
    event.preventDefault();
    try {
      handle((event.submitter as HTMLButtonElement | null)?.value ?? "");
    } catch (error) {
      note("error", sentence(error));
    }
  };
}

function openInput(doing: Doing): void {
  const { room } = doing;
  const { fields } = room.schema.input;
  const isThere = fields.length > 0 && !room.isSpectator;
  byId("input-form").hidden = !isThere;
  byId("input-none").hidden = isThere;
  putFields(byId("input-fields"), fields, "input");
  onSubmit("input-form", (how) => {
    const row = readFields(byId("input-fields"));
    if (how === "clear") {
      void act(doing, "Stop sending inputs", "room.input.clear();", () => room.input.clear());
    } else if (how === "once") {
      const code = `room.input.once(${literal(row)});`;
      void act(doing, "Send an input once", code, () => room.input.once(row));
    } else {
      const code = `room.input.set(${literal(row)});`;
      void act(doing, "Send an input with each tick", code, () => room.input.set(row));
    }
  });
}

function openPublish(doing: Doing): void {
  const { room } = doing;
  const { topics } = room.schema;
  const isThere = topics.length > 0 && !room.isSpectator;
  byId("publish-form").hidden = !isThere;
  byId("publish-none").hidden = isThere;
  const options = topics.map(({ name }) => element("option", { value: name }, name));
  byId("publish-topic").replaceChildren(...options);
  onSubmit("publish-form", (how) => {
    const topic = byId<HTMLSelectElement>("publish-topic").value;
    const body = readBody(byId<HTMLTextAreaElement>("publish-body").value);
    const to = readNumbers(byId<HTMLInputElement>("publish-to").value, "To members");
    const text = `${literal(topic)}, ${literal(body)}`;
    const bytes = bytesOf(body);
    if (how === "send") {
      const code = `room.send(${text}${to.length > 0 ? `, ${literal(to)}` : ""});`;
      void act(doing, `Send on ${topic}`, code, () => room.send(topic, body, to), bytes);
    } else {
      const code = `await room.request(${text}${to.length > 0 ? `, ${literal({ to })}` : ""});`;
      void act(doing, `Publish on ${topic}`, code, () => room.request(topic, body, { to }), bytes);
    }
  });
}

function bytesOf(body: string | object | Uint8Array): number {
  if (body instanceof Uint8Array) {
    return body.length;
  }
  return new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body)).length;
}

function openWrite(doing: Doing): void {
  const { room } = doing;
  const { components } = room.schema;
  byId("write-form").hidden = room.isSpectator;
  byId("write-none").hidden = !room.isSpectator;
  const select = byId<HTMLSelectElement>("write-component");
  select.replaceChildren(...components.map(({ name }) => element("option", { value: name }, name)));
  const entity = byId<HTMLInputElement>("write-entity");
  entity.value = String(room.entity);
  const how = byId<HTMLSelectElement>("write-how");
  const prepare = () => {
    const component = components.find(({ name }) => name === select.value);
    const isPacked = component?.kind === PACKED;
    const needsValue = how.value === "set" || how.value === "add";
    byId("write-fields").hidden = !needsValue || !isPacked;
    byId("write-text-field").hidden = !needsValue || isPacked;
    byId("write-component-field").hidden = how.value === "despawn";
    byId("write-entity-field").hidden = how.value === "add";
    byId("write-owner-field").hidden = how.value !== "add";
    const value = room.state[select.value]?.get(Number(entity.value));
    putFields(
      byId("write-fields"),
      isPacked ? (component?.fields ?? []) : [],
      "write",
      value ?? {},
    );
    byId("write-text-hint").textContent = component ? hintFor(component) : "";
  };
  select.onchange = how.onchange = entity.onchange = prepare;
  prepare();
  onSubmit("write-form", () => write(doing, how.value, select.value, Number(entity.value)));
}

function hintFor({ kind, contentType }: Component): string {
  if (kind === OPAQUE) {
    return contentType.startsWith("text/")
      ? "a text"
      : contentType.startsWith("application/json")
        ? "JSON"
        : "bytes: hexadecimal digits";
  }
  return 'JSON: the keys to change, such as {"name": "Ada", "old": null}';
}

function write(doing: Doing, how: string, name: string, entity: number): void {
  const { room } = doing;
  const ifTick = readNumbers(
    byId<HTMLInputElement>("write-if").value,
    "Only if unchanged since",
  )[0];
  const options = ifTick === undefined ? {} : { ifTick };
  const code = (inner: string) =>
    `await room.write((changes) => ${inner}${ifTick === undefined ? "" : `, ${literal(options)}`});`;
  const run = (what: string, inner: string, build: (changes: Changes<AnyState>) => void) =>
    void act(doing, what, code(inner), () => room.write(build, options));
  const component = literal(name);
  switch (how) {
    case "set": {
      const value = readValue(room, name);
      run(
        `Set ${name} of ${entity}`,
        `changes.set(${component}, ${entity}, ${literal(value)})`,
        (changes) => changes.set(name, entity, value as never),
      );
      break;
    }
    case "add": {
      const value = readValue(room, name);
      const owner = byId<HTMLSelectElement>("write-owner").value as "me" | "room";
      run(
        `Add an entity with ${name}`,
        `changes.set(${component}, changes.add(${literal(owner)}), ${literal(value)})`,
        (changes) => changes.set(name, changes.add(owner), value as never),
      );
      break;
    }
    case "remove":
      run(`Remove ${name} of ${entity}`, `changes.remove(${component}, ${entity})`, (changes) =>
        changes.remove(name, entity),
      );
      break;
    default:
      run(`Remove entity ${entity}`, `changes.despawn(${entity})`, (changes) =>
        changes.despawn(entity),
      );
  }
}

type AnyState = Parameters<Room["write"]>[0] extends (changes: Changes<infer S>) => void
  ? S
  : never;

/** The value that the form has, for a component of any kind. */
function readValue(room: Room, name: string): unknown {
  const component = room.schema.component(name);
  const text = byId<HTMLTextAreaElement>("write-text").value;
  if (component?.kind === PACKED) {
    return readFields(byId("write-fields"));
  }
  if (component?.kind !== OPAQUE) {
    return readObject(text, "The value") ?? {};
  }
  if (component.contentType.startsWith("text/")) {
    return text;
  }
  return component.contentType.startsWith("application/json") ? JSON.parse(text) : readHex(text);
}

function openHost(doing: Doing): void {
  const { room } = doing;
  byId("host-forms").hidden = room.isSpectator;
  byId("host-none").hidden = !room.isSpectator;
  const choice = (id: string) => {
    const { value } = byId<HTMLSelectElement>(id);
    return value === "" ? undefined : value === "on";
  };
  onSubmit("configure-form", () => {
    const changes = {
      locked: choice("configure-locked"),
      listed: choice("configure-listed"),
      password: byId<HTMLInputElement>("configure-protect").checked
        ? byId<HTMLInputElement>("configure-password").value
        : undefined,
      metadata: readObject(byId<HTMLTextAreaElement>("configure-metadata").value, "Metadata"),
    };
    const code = `await room.configure(${literal(changes)});`;
    const configure = () => room.configure(changes as Parameters<Room["configure"]>[0]);
    void act(doing, "Configure the room", code, configure);
  });
  onSubmit("kick-form", () => {
    const [member = 0] = readNumbers(byId<HTMLInputElement>("kick-member").value, "Member");
    const message = byId<HTMLInputElement>("kick-message").value;
    const code = `await room.kick(${member}, ${literal(message)});`;
    void act(doing, `Send member ${member} away`, code, () => room.kick(member, message));
  });
}
