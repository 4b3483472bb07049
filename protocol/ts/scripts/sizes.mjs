// What the client costs a page: each import, bundled from dist/ as a user's bundler would, minified
// and compressed with gzip -9. Fails when one is above its gate: node scripts/sizes.mjs
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));

/**
 * What is outside of a row is what the page has anyway. All in bytes: above the gate it fails, so
 * that nothing grows unseen; the goal is where it should be.
 */
const rows = [
  {
    name: "connect",
    source: 'export { connect } from "@tickloom/client"',
    gate: 17 * 1024,
    goal: 9 * 1024,
  },
  { name: "all of it", source: 'export * from "@tickloom/client"', gate: 20 * 1024 },
  {
    name: "react, beside connect",
    source: 'export * from "@tickloom/client/react"',
    outside: ["react", "@tickloom/client"],
    gate: 1000,
    goal: 717,
  },
  {
    name: "debug, beside connect",
    source: 'export * from "@tickloom/client/debug"',
    outside: ["@tickloom/client"],
  },
];

mkdirSync(".build", { recursive: true });
let isTooLarge = false;
console.log("import                   minified   gzip -9      gate      goal");
for (const { name, source, outside = [], gate, goal } of rows) {
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: process.cwd() },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    legalComments: "none",
    plugins: [only(outside)],
    // Our own paths lead to the sources, and users have none.
    tsconfigRaw: {},
    write: false,
  });
  const code = outputFiles[0].contents;
  const bytes = gzipSync(code, { level: 9 }).length;
  const verdict = bytes > (gate ?? Number.POSITIVE_INFINITY) ? "  too large" : "";
  isTooLarge ||= verdict !== "";
  const columns = [code.length, bytes, gate ?? "", goal ?? ""].map((column) =>
    String(column).padStart(10),
  );
  console.log(`${name.padEnd(23)}${columns.join("")}${verdict}`);
  writeFileSync(`.build/size-${name.split(/[ ,]/)[0]}.js`, code);
}
process.exit(isTooLarge ? 1 : 0);

/** Leaves imports of these packages, but not of what lies below them, outside. */
function only(packages) {
  return {
    name: "outside",
    setup({ onResolve }) {
      onResolve({ filter: /^[@a-z]/ }, ({ path }) =>
        packages.includes(path) ? { path, external: true } : undefined,
      );
    },
  };
}
