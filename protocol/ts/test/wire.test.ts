import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

/** Runs the generator in a folder of its own, on a schema changed by `change`. */
function generate(change: (schema: string) => string, ...args: string[]) {
  const folder = mkdtempSync(join(tmpdir(), "wire-"));
  try {
    for (const name of ["schema", "ts/src", "ts/scripts"]) {
      mkdirSync(join(folder, name), { recursive: true });
    }
    cpSync("scripts/wire.mjs", join(folder, "ts/scripts/wire.mjs"));
    cpSync("src/wire.gen.ts", join(folder, "ts/src/wire.gen.ts"));
    const schema = change(readFileSync("../schema/wire.fbs", "utf8"));
    writeFileSync(join(folder, "schema/wire.fbs"), schema);
    const cwd = join(folder, "ts");
    const run = spawnSync(process.execPath, ["scripts/wire.mjs", ...args], {
      cwd,
      encoding: "utf8",
    });
    const written = readFileSync(join(cwd, "src/wire.gen.ts"), "utf8");
    return { status: run.status, errors: run.stderr, written };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("the generated file is what the schema says", () => {
  const { status, errors, written } = generate((schema) => schema);
  assert.deepEqual([status, errors], [0, ""]);
  assert.equal(written, readFileSync("src/wire.gen.ts", "utf8"));
});

test("a schema that has grown makes the generated file stale", () => {
  const grow = (schema: string) =>
    schema.replace("client_us:ulong; }", "client_us:ulong; late_ms:uint = 7; }");
  const check = generate(grow, "--check");
  assert.equal(check.status, 1);
  assert.match(
    check.errors,
    /wire\.gen\.ts is not what .*wire\.fbs says: run node scripts\/wire\.mjs/,
  );
  assert.match(generate(grow).written, /Ping: "clientUs:l lateMs:u=7"/);
});

test("what the generator does not know is refused with its line", () => {
  const rows: [from: string, to: string, message: RegExp][] = [
    ["table Leave {}", "struct Leave {}", /wire\.fbs:\d+: unknown struct/],
    ["client_us:ulong;", "client_us:long;", /client_us: unknown type long/],
    [
      "name:string (required);",
      "name:string (key);",
      /wire\.fbs:\d+: expected required, found key/,
    ],
    ["table Leave {}", "table Leave {} $", /wire\.fbs:\d+: unexpected \$/],
    ["root_type ServerEnvelope;", "table Last { a:uint;", /wire\.fbs:\d+: expected more/],
  ];
  for (const [from, to, message] of rows) {
    const { status, errors } = generate((schema) => schema.replace(from, to));
    assert.equal(status, 1, to);
    assert.match(errors, message, to);
  }
});
