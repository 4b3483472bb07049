// Writes src/wire.gen.ts from ../schema/wire.fbs: node scripts/wire.mjs [--check]
//
// Reads the part of the FlatBuffers language that the schema uses: namespace, enum, table with
// defaults and (required), union, root_type. Anything else is an error that names its line.
//
// A table becomes a TypeScript interface and a layout: one line of text that `flat.ts` reads and
// writes by, a twentieth of the classes that flatc would write.
import { readFileSync, writeFileSync } from "node:fs";

const SOURCE = "../schema/wire.fbs";
const TARGET = "src/wire.gen.ts";

/** FlatBuffers' scalars: the letter of the layout, and what they are in TypeScript. */
const SCALARS = {
  bool: ["z", "boolean"],
  byte: ["i", "number"],
  ubyte: ["b", "number"],
  ushort: ["h", "number"],
  uint: ["u", "number"],
  ulong: ["l", "number"],
  float: ["f", "number"],
  double: ["d", "number"],
};

const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
/** What the array of an enum's names is called; `switch` is a word of the language. */
const arrayName = (name) =>
  name === "Switch" ? "switchNames" : name[0].toLowerCase() + name.slice(1);

/** Declarations by name, with the comments that stand right before them. */
function parse(text) {
  const wire = { enums: {}, tables: {}, unions: {} };
  const tokens = [...text.matchAll(/\/\/ ?(.*)|(\n[ \t]*(?=\n))|([\w.-]+|[{}[\]():;=,])|(\S)/g)];
  const lineOf = (index) => text.slice(0, index).split("\n").length;
  let at = 0;
  let comments = [];
  const skip = () => {
    for (; at < tokens.length; at += 1) {
      const [, comment, blank, , stray] = tokens[at];
      if (stray) throw new Error(`${SOURCE}:${lineOf(tokens[at].index)}: unexpected ${stray}`);
      if (comment !== undefined) comments.push(comment);
      else if (blank !== undefined) comments = [];
      else return;
    }
  };
  const peek = () => {
    skip();
    return tokens[at]?.[3];
  };
  const take = (expected) => {
    const token = peek();
    if (token === undefined || (expected && token !== expected)) {
      const line = lineOf(tokens[at]?.index ?? text.length);
      throw new Error(`${SOURCE}:${line}: expected ${expected ?? "more"}, found ${token}`);
    }
    at += 1;
    return token;
  };
  const takeIf = (expected) => peek() === expected && !!take();
  const takeNames = () => {
    const names = [];
    take("{");
    while (!takeIf("}")) {
      names.push(take());
      takeIf(",");
    }
    return names;
  };
  const takeField = () => {
    const field = { name: take() };
    take(":");
    field.isVector = takeIf("[");
    field.type = take();
    if (field.isVector) take("]");
    if (takeIf("=")) field.value = take();
    if (takeIf("(")) {
      take("required");
      field.isRequired = true;
      take(")");
    }
    take(";");
    return field;
  };
  while (peek() !== undefined) {
    const doc = comments;
    comments = [];
    const keyword = take();
    const name = take();
    if (keyword === "enum") {
      take(":");
      take("ubyte");
      wire.enums[name] = takeNames();
    } else if (keyword === "union") {
      wire.unions[name] = takeNames();
    } else if (keyword === "table") {
      const fields = [];
      take("{");
      while (!takeIf("}")) fields.push(takeField());
      wire.tables[name] = { doc, fields };
    } else if (keyword === "namespace" || keyword === "root_type") {
      take(";");
    } else {
      throw new Error(`${SOURCE}:${lineOf(tokens[at - 2].index)}: unknown ${keyword}`);
    }
    comments = [];
  }
  return wire;
}

/** One field of a layout: name, type, default or `!` for a required one. */
function layoutOf(wire, { name, type, isVector, value, isRequired }) {
  let code = SCALARS[type]?.[0] ?? (type === "string" ? "s" : type);
  if (wire.enums[type]) code = `e${wire.enums[type].length}`;
  else if (code === type && !wire.tables[type]) throw new Error(`${name}: unknown type ${type}`);
  if (isVector) code = code === "b" ? "y" : `[${code}`;
  const suffix = isRequired ? "!" : value === undefined ? "" : `=${value}`;
  return `${camel(name)}:${code}${suffix}`;
}

function typeOf(wire, { type, isVector }) {
  if (isVector && type === "ubyte") return "Uint8Array";
  let name = SCALARS[type]?.[1] ?? type;
  if (wire.enums[type]) name = "number";
  return isVector ? `${name}[]` : name;
}

/** Whether a reader may find nothing there: tables have no default. */
const mayBeAbsent = (wire, field) =>
  !!wire.tables[field.type] && !field.isVector && !field.isRequired;

function interfaceOf(wire, name, { doc, fields }, isWritten) {
  const lines = fields.map((field) => {
    const optional = isWritten ? !field.isRequired : mayBeAbsent(wire, field);
    const hint = wire.enums[field.type]
      ? `  /** An index of {@link ${arrayName(field.type)}}. */\n`
      : "";
    return `${hint}  ${camel(field.name)}${optional ? "?" : ""}: ${typeOf(wire, field)};`;
  });
  const text = doc.map((line) =>
    camel(line.replace(/`(\w+)`/g, (_, word) => `\`${camel(word)}\``)),
  );
  const comment = doc.length ? `/**\n${text.map((line) => ` * ${line}\n`).join("")} */\n` : "";
  const body = lines.length ? `{\n${lines.join("\n")}\n}` : "{}";
  return `${comment}export interface ${name} ${body}`;
}

/** The tables that a union's messages are made of, members first. */
function tablesOf(wire, names, found = []) {
  for (const name of names) {
    if (!wire.tables[name] || found.includes(name)) continue;
    found.push(name);
    tablesOf(
      wire,
      wire.tables[name].fields.map((field) => field.type),
      found,
    );
  }
  return found;
}

function generate(wire) {
  const { ClientBody: client, ServerBody: server } = wire.unions;
  const [written, read] = [client, server].map((names) => tablesOf(wire, names));
  const parts = [
    "// Written by scripts/wire.mjs from protocol/schema/wire.fbs: edit that and run it again.",
  ];
  for (const [name, names] of Object.entries(wire.enums)) {
    const list = names.map((entry) => `\n  "${entry}",`).join("");
    parts.push(
      `/** The names of ${name}, by their numbers on the wire. */\nexport const ${arrayName(name)} = [${list}\n] as const;`,
    );
    parts.push(`export type ${name} = (typeof ${arrayName(name)})[number];`);
  }
  for (const name of [...written, ...read]) {
    parts.push(interfaceOf(wire, name, wire.tables[name], written.includes(name)));
  }
  for (const [prefix, names] of [
    ["Client", client],
    ["Server", server],
  ]) {
    const list = names.map((entry) => `\n  "${entry}",`).join("");
    parts.push(
      `/** The messages of a ${prefix.toLowerCase()}, by their tag less one. */\nexport const ${prefix.toLowerCase()}Body = [${list}\n] as const;`,
    );
    parts.push(
      `export interface ${prefix}Messages {\n${names.map((entry) => `  ${entry}: ${entry};`).join("\n")}\n}`,
    );
  }
  const layouts = [...written, ...read].map((name) => {
    const fields = wire.tables[name].fields.map((field) => layoutOf(wire, field));
    return `  ${name}: "${fields.join(" ")}",`;
  });
  parts.push(
    `/** How tables lie: fields in order; \`flat.ts\` says what the letters mean. */\nexport const layouts: Record<string, string> = {\n${layouts.join("\n")}\n};`,
  );
  return `${parts.join("\n\n")}\n`;
}

const generated = generate(parse(readFileSync(SOURCE, "utf8")));
if (!process.argv.includes("--check")) {
  writeFileSync(TARGET, generated);
} else if (readFileSync(TARGET, "utf8") !== generated) {
  console.error(`${TARGET} is not what ${SOURCE} says: run node scripts/wire.mjs`);
  process.exit(1);
}
