// Builds every test, or those that are named, and runs them: node test/run.mjs [steer ...]
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const named = process.argv.slice(2);
const tests = readdirSync("test")
  .filter((name) => name.endsWith(".test.ts"))
  .filter((name) => named.length === 0 || named.some((wanted) => name.startsWith(wanted)));
rmSync(".build", { recursive: true, force: true });
await build({
  entryPoints: tests.map((name) => `test/${name}`),
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
const built = tests.map((name) => `.build/${name.replace(/\.ts$/, ".mjs")}`);
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...built], {
  stdio: "inherit",
});
process.exit(run.status ?? 1);
