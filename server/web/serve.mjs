// For work on the pages: serves dist/ and passes everything else on to a server that runs.
//
//   node serve.mjs [PORT] [SERVER]        by default 7430 and 127.0.0.1:7420
//
// WebSockets go through with the browser's `Host`, so the server sees a page of its own host.
import { existsSync, readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const dist = join(dirname(fileURLToPath(import.meta.url)), "dist");
const port = Number(process.argv[2] ?? 7430);
const [host, serverPort] = (process.argv[3] ?? "127.0.0.1:7420").split(":");
/** As the server has it. */
const policy =
  "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; " +
  "style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const contentTypes = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** The file of an address, if there is one. */
function fileOf(url) {
  const path = normalize(decodeURIComponent(new URL(url, "http://page").pathname));
  const name = path === "/" ? "index.html" : extname(path) ? path : `${path}.html`;
  const file = join(dist, name);
  return existsSync(file) ? file : undefined;
}

const server = createServer((incoming, outgoing) => {
  const file = fileOf(incoming.url);
  if (file) {
    outgoing.writeHead(200, {
      "content-type": contentTypes[extname(file)],
      "content-security-policy": policy,
      "cache-control": "no-store",
    });
    outgoing.end(readFileSync(file));
    return;
  }
  const { method, url: path, headers } = incoming;
  const passed = request({ host, port: serverPort, method, path, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    answer.pipe(outgoing);
  });
  passed.on("error", (error) => outgoing.writeHead(502).end(`${error.message}\n`));
  incoming.pipe(passed);
});

server.on("upgrade", (incoming, socket, head) => {
  const onward = connect(Number(serverPort), host, () => {
    const lines = [`${incoming.method} ${incoming.url} HTTP/1.1`];
    for (let at = 0; at < incoming.rawHeaders.length; at += 2) {
      lines.push(`${incoming.rawHeaders[at]}: ${incoming.rawHeaders[at + 1]}`);
    }
    onward.write(`${lines.join("\r\n")}\r\n\r\n`);
    onward.write(head);
    onward.pipe(socket).pipe(onward);
  });
  onward.on("error", () => socket.destroy());
  socket.on("error", () => onward.destroy());
  onward.setNoDelay(true);
});

server.listen(port, "127.0.0.1", () => {
  console.log(
    `http://127.0.0.1:${server.address().port} shows dist/, the rest is ${host}:${serverPort}`,
  );
});
