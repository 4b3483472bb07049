import type { Client, Unsubscribe } from "../index.js";
import { element, Facts, Sparkline, show, slider } from "./elements.js";
import { History, Meter } from "./rates.js";
import type { Network } from "./simulate.js";
import { style } from "./style.js";
import { StateTree } from "./tree.js";

/** From one look at the client to the next, and how many of them the lines show: a minute. */
const LOOK_MS = 500;
const LOOKS_COUNT = 120;

/** What a panel shows beside the client. */
export interface DebugPanelOptions {
  /** What `simulate` returned: gives the panel sliders for it. */
  network?: { readonly network: Network };
  /** What `predict` returned: shows how far the server's answers are off. */
  predictor?: { readonly drift: { readonly status: string; mean: number; peak: number } };
  /** Where it goes; the body of the page unless said. */
  parent?: ParentNode & Node;
}

/** A panel in the page. */
export interface DebugPanel {
  readonly element: HTMLElement;
  /** Takes it away. The client goes on. */
  close(): void;
}

/**
 * Shows in a corner of the page what a client does: its connection, its rates, the time there and
 * back, the state of its room, and how well a prediction fits.
 *
 * For developers: load it with `import("@tickloom/client/debug")` when it is wanted.
 */
export function debugPanel(client: Client, options: DebugPanelOptions = {}): DebugPanel {
  const host = element("tickloom-debug" as "div");
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(style);
  root.adoptedStyleSheets = [sheet];
  const view = new View(client, options);
  root.append(view.element);
  (options.parent ?? document.body).append(host);
  const timer = setInterval(() => document.hidden || view.look(), LOOK_MS);
  const stop = client.on("state", () => view.look());
  view.look();
  return {
    element: host,
    close() {
      clearInterval(timer);
      stop();
      host.remove();
    },
  };
}

class View {
  readonly element: HTMLElement;
  readonly #client: Client;
  readonly #options: DebugPanelOptions;
  readonly #state = element("span", { role: "status" });
  readonly #line = new Facts();
  readonly #room = new Facts();
  readonly #meter = new Meter();
  readonly #rtt = new History(LOOKS_COUNT);
  readonly #jitter = new History(LOOKS_COUNT);
  readonly #rttLine = new Sparkline("time there and back");
  readonly #jitterLine = new Sparkline("jitter");
  readonly #tree = new StateTree();

  constructor(client: Client, options: DebugPanelOptions) {
    this.#client = client;
    this.#options = options;
    const body = element("div", {}, this.#line.element, this.#rttLine.element);
    body.append(this.#jitterLine.element, this.#room.element, this.#tree.element);
    body.append(this.#buttons(), ...this.#sliders());
    const fold = element("button", { type: "button", ariaExpanded: "true" }, "fold");
    fold.addEventListener("click", () => {
      body.hidden = !body.hidden;
      fold.ariaExpanded = String(!body.hidden);
      show(fold, body.hidden ? "unfold" : "fold");
    });
    const title = element("h2", {}, "Tickloom");
    const header = element("header", {}, title, this.#state, fold);
    this.element = element("section", { ariaLabel: "Tickloom debug panel" }, header, body);
  }

  /** Takes a look at the client and shows it. */
  look(): void {
    const { stats, room, state } = this.#client;
    const { kilobytesIn, kilobytesOut, messagesIn, messagesOut } = this.#meter.measure(
      performance.now(),
      stats,
    );
    show(this.#state, state);
    this.#line.set("in", `${kilobytesIn.toFixed(2)} kB/s  ${messagesIn.toFixed(0)}/s`);
    this.#line.set("out", `${kilobytesOut.toFixed(2)} kB/s  ${messagesOut.toFixed(0)}/s`);
    const { connections, resumed, resyncs } = stats;
    this.#line.set("connections", `${connections}, ${resumed} resumed`);
    this.#line.set("resyncs", String(resyncs));
    const { rttMs = 0, jitterMs = 0 } = room?.clock ?? {};
    this.#line.set("rtt, jitter", `${rttMs.toFixed(1)}, ${jitterMs.toFixed(1)} ms`);
    this.#rtt.add(rttMs);
    this.#jitter.add(jitterMs);
    this.#rttLine.draw(this.#rtt.points(100, 24));
    this.#jitterLine.draw(this.#jitter.points(100, 24));
    if (room) {
      this.#room.set("room", `${room.type} ${room.name}`);
      this.#room.set("seat", `${room.status}, member ${room.member}, entity ${room.entity}`);
      this.#room.set("tick", `${room.tick}, load level ${room.loadLevel}`);
    }
    const drift = this.#options.predictor?.drift;
    if (drift) {
      const { status, mean, peak } = drift;
      this.#room.set("drift", `${status}, ${mean.toFixed(3)} mean, ${peak.toFixed(3)} peak`);
    }
    this.#tree.draw(room);
  }

  #buttons(): HTMLElement {
    const button = (name: string, press: Unsubscribe) => {
      const made = element("button", { type: "button" }, name);
      made.addEventListener("click", press);
      return made;
    };
    const drop = button("drop the connection", () => this.#client.drop());
    const reconnect = button("reconnect now", () => this.#client.reconnect());
    return element("div", { className: "buttons" }, drop, reconnect);
  }

  #sliders(): HTMLElement[] {
    const network = this.#options.network?.network;
    if (!network) {
      return [];
    }
    const set = (key: keyof Network) => (value: number) => {
      network[key] = value;
    };
    return [
      slider("latency", "ms", network.latencyMs, 500, 5, set("latencyMs")),
      slider("jitter", "ms", network.jitterMs, 200, 5, set("jitterMs")),
      slider("line", "B/s", network.throughputBps, 200_000, 1000, set("throughputBps")),
    ];
  }
}
