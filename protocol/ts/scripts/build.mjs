// Builds dist/: node scripts/build.mjs [folder]
//
// Each entry as an ES module and as CommonJS, readable; types for both; and tickloom.min.js, the
// whole client in one minified module without imports, for pages without a bundler.
//
// Properties that begin with an underscore are for the package alone. Bundlers cannot know that, so
// they get short names here, the same ones in every file: the entries look into each other.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const dist = process.argv[2] ?? "dist";
const entries = { index: "src/index.ts", react: "src/react.ts", debug: "src/debug/index.ts" };

/** Whatever the other entries use of the first stays an import, so that there is one copy of it. */
const coreStaysOutside = {
  name: "core-stays-outside",
  setup({ onResolve }) {
    onResolve({ filter: /\/index\.js$/ }, ({ path, resolveDir }) =>
      resolve(resolveDir, path) === resolve("src/index.js")
        ? { path: "@tickloom/client", external: true }
        : undefined,
    );
  },
};
const shared = { bundle: true, target: "es2022", logLevel: "warning", mangleProps: /^_[a-z]/ };

rmSync(dist, { recursive: true, force: true });
// Names are only chosen where all are to be short.
const { mangleCache } = await build({
  ...shared,
  entryPoints: entries,
  outdir: dist,
  packages: "external",
  minifyIdentifiers: true,
  write: false,
});
for (const [format, suffix] of [
  ["esm", ".js"],
  ["cjs", ".cjs"],
]) {
  await build({
    ...shared,
    mangleCache,
    entryPoints: entries,
    outdir: dist,
    outExtension: { ".js": suffix },
    format,
    platform: "neutral",
    packages: "external",
    plugins: [coreStaysOutside],
  });
}
await build({
  ...shared,
  mangleCache,
  entryPoints: [entries.index],
  outfile: join(dist, "tickloom.min.js"),
  format: "esm",
  minify: true,
  legalComments: "none",
});
buildTypes();

/** A declaration file belongs to one module system, so each is there for both. */
function buildTypes() {
  const tsc = spawnSync(
    process.execPath,
    ["node_modules/typescript/bin/tsc", "--project", "tsconfig.build.json", "--outDir", dist],
    { stdio: "inherit" },
  );
  if (tsc.status !== 0) {
    process.exit(tsc.status ?? 1);
  }
  for (const name of readdirSync(dist, { recursive: true })) {
    if (name.endsWith(".d.ts")) {
      const types = readFileSync(join(dist, name), "utf8");
      const required = types.replace(
        /(from |import\()(["']\.\.?\/[^"']*)\.js(["'])/g,
        "$1$2.cjs$3",
      );
      writeFileSync(join(dist, name.replace(/\.d\.ts$/, ".d.cts")), required);
    }
  }
}
