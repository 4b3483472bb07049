// Whatever README.md shows is true: node scripts/snippets.mjs, after scripts/build.mjs.
//
// TypeScript is checked against dist/, as a user's compiler sees it, and bundled. Rust stands in
// an example of the server, word for word, which is compiled and played there.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const folder = ".build/snippets";
const examples = "../../server/examples";

const readme = readFileSync("README.md", "utf8");
const snippets = [...readme.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(
  ([before, language, source]) => ({
    language,
    source,
    line: readme.slice(0, readme.indexOf(before)).split("\n").length + 1,
  }),
);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
// What `tickloom codegen ts` writes for the example; a test of the server compares it.
cpSync("test/tag.gen.ts", join(folder, "rooms.gen.ts"));
writeFileSync(
  join(folder, "tsconfig.json"),
  JSON.stringify({
    compilerOptions: {
      target: "ES2022",
      module: "NodeNext",
      lib: ["ES2022", "DOM", "DOM.Iterable"],
      types: [],
      jsx: "react-jsx",
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      verbatimModuleSyntax: true,
      noEmit: true,
    },
    include: ["*"],
  }),
);

const files = [];
for (const { language, source, line } of snippets) {
  if (language === "ts" || language === "tsx") {
    const file = join(folder, `line${line}.${language}`);
    // As many empty lines before it as README.md has, so that errors name its lines.
    writeFileSync(file, "\n".repeat(line - 1) + source);
    files.push(file);
  } else if (language === "rust") {
    mustStandInAnExample(source, line);
  }
}
if (files.length === 0) {
  fail("README.md shows no TypeScript");
}
const tsc = spawnSync(
  process.execPath,
  ["node_modules/typescript/bin/tsc", "--project", folder, "--pretty", "false"],
  { encoding: "utf8" },
);
if (tsc.status !== 0) {
  fail(`README.md does not compile:\n${tsc.stdout.replaceAll(`${folder}/`, "")}`);
}
await build({
  entryPoints: files,
  outdir: join(folder, "out"),
  bundle: true,
  format: "esm",
  target: "es2022",
  external: ["react", "react/jsx-runtime", "ws"],
  logLevel: "warning",
});
console.log(`${snippets.length} snippets of README.md are right`);

function mustStandInAnExample(source, line) {
  const there = readdirSync(examples).some((name) =>
    readFileSync(join(examples, name), "utf8").includes(source),
  );
  if (!there) {
    fail(`README.md:${line}: no example of the server has this Rust`);
  }
}

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}
