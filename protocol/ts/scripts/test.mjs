// Builds every test, or those that are named, and runs them: node scripts/test.mjs [test/clock.test.ts ...]
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const named = process.argv.slice(2);
const tests = named.length
  ? named
  : readdirSync("test")
      .filter((name) => /\.test\.tsx?$/.test(name))
      .map((name) => `test/${name}`);
rmSync(".build", { recursive: true, force: true });
await build({
  entryPoints: tests,
  outdir: ".build",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
  logLevel: "warning",
});
const built = tests.map(
  (name) => `.build/${name.slice(name.lastIndexOf("/") + 1).replace(/\.tsx?$/, ".mjs")}`,
);
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...built], {
  stdio: "inherit",
});
process.exit(run.status ?? 1);
