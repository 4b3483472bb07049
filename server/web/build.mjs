// Builds the pages into dist/, which is committed and becomes part of the server's binary:
//
//   node build.mjs            writes dist/
//   node build.mjs --check    writes nothing; fails when dist/ is not what the sources give
//
// dist/NAME.html are pages, dist/assets/ holds what they load. Names of assets end in a hash of
// their content, so they may be kept for ever; pages may not. dist/sdk.js is the whole client as
// one module, for pages of others. Equal sources give equal bytes.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");

/** Every page there is: its address is its name, and that of `index` is the root. */
const pages = [
  { name: "index", title: "Tickloom, a realtime room server" },
  { name: "arena", title: "Play in the arena – Tickloom" },
  { name: "board", title: "Draw on a shared board – Tickloom" },
  { name: "live", title: "Chat over a live clip – Tickloom" },
  { name: "playground", title: "Try any room by hand – Tickloom" },
];

const shared = {
  absWorkingDir: here,
  alias: { "@tickloom/client": "../../protocol/ts/src/index.ts" },
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
};

const outputs = await bundle();
outputs.set("sdk.js", await bundleClient());
if (process.argv.includes("--check")) {
  check(outputs);
} else {
  write(outputs);
}

/** Path below dist/ -> bytes. */
async function bundle() {
  const result = await build({
    ...shared,
    entryPoints: [
      ...pages.map(({ name }) => ({ in: `src/${name}/page.ts`, out: name })),
      { in: "src/style/style.css", out: "style" },
      { in: "src/frame/mark.svg", out: "mark" },
    ],
    loader: { ".svg": "copy" },
    entryNames: "assets/[name]-[hash]",
    chunkNames: "assets/[name]-[hash]",
    outdir: dist,
    splitting: true,
    metafile: true,
  });
  const files = new Map(
    result.outputFiles.map((file) => [relative(dist, file.path), Buffer.from(file.contents)]),
  );
  const layout = readFileSync(join(here, "src/frame/layout.html"), "utf8");
  const assets = assetsBySource(result.metafile);
  for (const page of pages) {
    files.set(`${page.name}.html`, Buffer.from(html(layout, page, assets)));
  }
  return files;
}

async function bundleClient() {
  const entryPoints = ["../../protocol/ts/src/index.ts"];
  const { outputFiles } = await build({ ...shared, entryPoints });
  return Buffer.from(outputFiles[0].contents);
}

/** Source -> where it went and what that imports. */
function assetsBySource(metafile) {
  const assets = new Map();
  for (const [path, { entryPoint, imports, inputs }] of Object.entries(metafile.outputs)) {
    const source = entryPoint ?? Object.keys(inputs)[0];
    const loaded = imports.filter(({ kind }) => kind === "import-statement");
    assets.set(source, {
      path: relative("dist", path),
      imports: loaded.map((loads) => relative("dist", loads.path)).sort(),
    });
  }
  return assets;
}

function html(layout, { name, title }, assets) {
  const script = assets.get(`src/${name}/page.ts`);
  const preloads = script.imports.map((path) => `<link rel="modulepreload" href="${path}">\n`);
  const values = {
    name,
    title,
    style: assets.get("src/style/style.css").path,
    mark: assets.get("src/frame/mark.svg").path,
    script: script.path,
    preloads: preloads.join(""),
    main: readFileSync(join(here, `src/${name}/page.html`), "utf8").trimEnd(),
  };
  const filled = layout.replace(/%(\w+)%/g, (_, key) => values[key] ?? fail(`layout: %${key}%`));
  // The link to the page itself says so.
  return filled.replace(`<a data-page="${name}"`, `$& aria-current="page"`);
}

function write(files) {
  rmSync(dist, { recursive: true, force: true });
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(dist, path)), { recursive: true });
    writeFileSync(join(dist, path), bytes);
  }
  const bytes = [...files.values()].reduce((sum, file) => sum + file.length, 0);
  console.log(`dist: ${files.size} files, ${bytes} bytes`);
}

function check(files) {
  const there = new Set(
    readdirSync(dist, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(dist, join(entry.parentPath ?? entry.path, entry.name))),
  );
  const stale = [...files.keys()].filter(
    (path) => !there.has(path) || !readFileSync(join(dist, path)).equals(files.get(path)),
  );
  const left = [...there].filter((path) => !files.has(path));
  if (stale.length + left.length > 0) {
    const names = [...stale, ...left].sort().join(", ");
    fail(`dist/ is not what the sources give (${names}): run \`npm run build\` and commit it`);
  }
  console.log("dist: up to date");
}

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}
