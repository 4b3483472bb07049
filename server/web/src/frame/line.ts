// The line to the server: opens it, and shows on every page how it is. In the header stands the
// state, below it a banner says when the next try is. `data-state` of the root element is the
// client's state, or "idle" before there is one.

import { type Client, connect, type TickloomError } from "@tickloom/client";
import { byId, setText } from "./dom.js";
import { sentence } from "./sentence.js";

/** Shorter breaks are not worth a banner. */
const BANNER_DELAY_MS = 700;

const CLOSE_NORMAL = 1000;

const words = {
  connecting: "Connecting",
  open: "Connected",
  waiting: "Connection lost",
  closed: "Disconnected",
};

/** Where this page's server takes WebSockets. */
export function endpoint(): string {
  const url = new URL("ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = url.search = "";
  return url.href;
}

/** A client of the server that the page came from, which the page's header shows. */
export function openLine(): Client {
  // These pages may not make code, and trying would show as an error in the browser's console.
  const client = connect(endpoint(), { compileRows: false });
  show(client);
  return client;
}

/** Shows a client until another one is shown. */
export function show(client: Client): void {
  const banner = new Banner(client);
  const update = () => {
    const { state } = client;
    document.documentElement.dataset.state = state;
    setText(byId("line-text"), words[state]);
    banner.update();
  };
  client.on("state", update);
  client.on("closed", (error) => banner.close(error));
  update();
}

class Banner {
  readonly #client: Client;
  #timer = 0;
  #brokenAtMs = 0;

  constructor(client: Client) {
    this.#client = client;
    byId("banner").hidden = true;
    byId("banner-retry").onclick = () =>
      client.state === "closed" ? location.reload() : client.reconnect();
  }

  update(): void {
    const { state } = this.#client;
    clearInterval(this.#timer);
    if (state === "open" || state === "closed") {
      this.#brokenAtMs = 0;
      byId("banner").hidden = true;
      return;
    }
    this.#brokenAtMs ||= performance.now();
    this.#timer = window.setInterval(() => this.#count(), 200);
    this.#count();
  }

  /** The end: nothing is tried any more unless somebody asks for it. */
  close(error: TickloomError): void {
    clearInterval(this.#timer);
    // A page that closed its client by itself shows something else.
    if (error.closeCode === CLOSE_NORMAL) {
      return;
    }
    setText(byId("banner-text"), sentence(error));
    setText(byId("banner-when"), "");
    setText(byId("banner-retry"), "Load the page again");
    byId("banner").hidden = false;
  }

  #count(): void {
    if (performance.now() - this.#brokenAtMs < BANNER_DELAY_MS) {
      return;
    }
    const { state, retryAtMs } = this.#client;
    setText(byId("banner-text"), "The server does not answer.");
    setText(byId("banner-retry"), "Try now");
    setText(byId("banner-when"), when(state === "connecting", retryAtMs));
    byId("banner").hidden = false;
  }
}

function when(isTrying: boolean, retryAtMs: number | undefined): string {
  if (isTrying) {
    return "Trying now …";
  }
  if (retryAtMs === undefined) {
    return "This device is offline; it goes on by itself when it is back.";
  }
  const seconds = Math.max(1, Math.ceil((retryAtMs - performance.now()) / 1000));
  return `Next try in ${seconds} s.`;
}
