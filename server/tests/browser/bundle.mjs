// What scenarios bring along into a page: the client, bundled from its source.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const { build } = createRequire(`${process.env.MODULES}/`)("esbuild");
const source = fileURLToPath(new URL("../../../protocol/ts/src", import.meta.url));

const { outputFiles } = await build({
  stdin: {
    contents: 'export * from "./index.js"; export * from "./debug/index.js";',
    resolveDir: source,
    loader: "ts",
  },
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: "es2022",
  logLevel: "warning",
});

const code = Buffer.from(outputFiles[0].contents);
const address = `data:text/javascript;base64,${code.toString("base64")}`;

/** Opens a page of the server that has nothing in it, and puts the client there as `tickloom`. */
export async function bring(visitor, server) {
  await visitor.goto(`${server.http}/healthz`);
  await visitor.evaluate(async (address) => {
    globalThis.tickloom = await import(address);
  }, address);
}

/**
 * Opens a page of the server that joins nothing by itself, under the policy of all pages. That
 * allows scripts of the server, and the client pretends to be one.
 */
export async function slipIn(visitor, server) {
  const { page } = visitor;
  const path = `${server.http}/brought.js`;
  await page.setRequestInterception(true);
  page.on("request", (request) =>
    request.url() === path
      ? request.respond({ contentType: "text/javascript", body: code.toString() })
      : request.continue(),
  );
  await visitor.goto(`${server.http}/playground`);
  await visitor.evaluate(async (path) => {
    globalThis.tickloom = await import(path);
  }, path);
}
