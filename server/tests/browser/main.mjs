// Runs every scenario in every browser: node main.mjs [browser ...]. Prints a line for each and
// ends with 1 when one failed.
import { launch, names } from "./browsers.mjs";
import { scenarios } from "./scenarios.mjs";
import { Server } from "./server.mjs";
import { Visitor } from "./visitor.mjs";

const wanted = process.argv.slice(2);
const only = process.env.ONLY ? new RegExp(process.env.ONLY) : /./;
let failures = 0;

/** One scenario, with visitors who all leave in the end. */
async function play(name, browser, server, scenario) {
  const visitors = [];
  const visit = async (options) => {
    const visitor = await Visitor.of(browser, options);
    visitors.push(visitor);
    return visitor;
  };
  const startMs = performance.now();
  const problems = [];
  let told;
  try {
    told = await scenario.run({ name, browser, server, visit });
  } catch (error) {
    problems.push(error.message);
  }
  for (const visitor of visitors) {
    await visitor.leave().catch((error) => problems.push(error.message));
  }
  const verdict = problems.length ? `FAILED  ${problems.join("; ")}` : `ok ${told ?? ""}`;
  const ms = Math.round(performance.now() - startMs);
  console.log(`${name.padEnd(9)} ${scenario.name.padEnd(58)} ${String(ms).padStart(6)} ms  ${verdict}`);
  failures += problems.length ? 1 : 0;
}

/** All scenarios in one browser, against a server of its own. */
async function playAll(name) {
  const server = new Server(`${process.env.WORK}/server-${name}.log`);
  await server.start();
  const browser = await launch(name);
  try {
    for (const scenario of scenarios) {
      if (only.test(scenario.name) && (scenario.browsers ?? names).includes(name)) {
        await play(name, browser, server, scenario);
      }
    }
  } finally {
    await browser.close();
    if (!(await server.stop())) {
      console.log(`${name.padEnd(9)} the server did not stop as it should: ${process.env.WORK}`);
      failures += 1;
    }
  }
}

// Most of it is waiting, so the browsers play at the same time.
await Promise.all((wanted.length ? wanted : names).map(playAll));
process.exit(failures ? 1 : 0);
