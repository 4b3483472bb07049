// What a tick of 1,000 moving entities costs a client, with a handler: node scripts/bench.mjs
import { mkdirSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
mkdirSync(".build", { recursive: true });
const outfile = ".build/bench.mjs";
await build({
  stdin: { contents: 'export { Moving } from "./test/moving.js"', resolveDir: "." },
  outfile,
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
});
const { Moving } = await import(pathToFileURL(outfile));
const TICKS = 5_000;

console.log("rows         ms per tick, median   99th percentile   ns per entity");
for (const compile of [true, false]) {
  const room = new Moving(compile);
  let told = 0;
  room.replica.tables[0].onChange(() => {
    told += 1;
  });
  for (let tick = 0; tick < TICKS / 10; tick++) room.tick();
  const times = Float64Array.from({ length: TICKS }, () => {
    const start = performance.now();
    room.tick();
    return performance.now() - start;
  }).sort();
  if (told !== (TICKS + TICKS / 10) * room.entitiesCount) throw new Error(`${told} were told`);
  const [median, high] = [times[TICKS / 2], times[Math.floor(TICKS * 0.99)]];
  const columns = [
    median.toFixed(4),
    high.toFixed(4),
    ((median * 1e6) / room.entitiesCount).toFixed(1),
  ];
  const widths = [20, 18, 16];
  const cells = columns.map((column, index) => column.padStart(widths[index]));
  console.log(`${(compile ? "compiled" : "interpreted").padEnd(13)}${cells.join("")}`);
}
