// The table of quotes, and on the host's page the market behind it.

import type { Room } from "@tickloom/client";
import { byId, element, setText } from "../frame/dom.js";
import { jsonOf } from "./chat.js";
import { Market, type Quotes, symbols } from "./market.js";

const STEP_MS = 250;
/** Every so many steps the host says all prices, for those who missed one. */
const ALL_EVERY = 20;

interface Row {
  row: HTMLTableRowElement;
  price: HTMLElement;
  change: HTMLElement;
}

/** Shows quotes, and feeds them while this page is the host. Returns how to stop. */
export function runQuotes(room: Room): () => void {
  const market = new Market();
  const rows = new Map(symbols.map(([symbol, name]) => [symbol, makeRow(symbol, name)]));
  const lines = [...rows.values()].map(({ row }) => row);
  byId("quotes-first").replaceChildren(...lines.slice(0, lines.length / 2));
  byId("quotes-second").replaceChildren(...lines.slice(lines.length / 2));
  let heardCount = 0;
  room.onEvent("quotes", (event) => {
    heardCount += 1;
    byId("main").dataset.quotes = String(heardCount);
    show(market, rows, market.adopt(jsonOf(event)));
  });
  let steps = 0;
  let isAllWanted = true;
  // Whoever comes has heard of no price.
  room.state.name?.onAdd(() => {
    isAllWanted = true;
  });
  const timer = setInterval(() => {
    if (room.status === "joined" && isHost(room)) {
      const moved = market.step();
      steps += 1;
      isAllWanted ||= steps % ALL_EVERY === 0;
      room.send("quotes", isAllWanted ? market.prices : moved);
      isAllWanted = false;
    }
  }, STEP_MS);
  return () => clearInterval(timer);
}

export function isHost(room: Room): boolean {
  return room.entity !== 0 && room.state.host?.get(0)?.entity === room.entity;
}

function show(market: Market, rows: Map<string, Row>, quotes: Quotes): void {
  for (const [symbol, price] of Object.entries(quotes)) {
    const shown = rows.get(symbol);
    const text = price.toFixed(2);
    if (!shown || shown.price.textContent === text) {
      continue;
    }
    const isUp = price > Number(shown.price.textContent);
    const change = market.change(symbol);
    setText(shown.price, text);
    setText(shown.change, `${change < 0 ? "▼" : "▲"} ${Math.abs(change).toFixed(2)} %`);
    shown.change.className = `number ${change < 0 ? "down" : "up"}`;
    flash(shown.row, isUp ? "flash-up" : "flash-down");
  }
}

/** Starts an animation again, also while the one before runs. */
function flash(row: HTMLElement, name: string): void {
  for (const animation of row.getAnimations()) {
    animation.cancel();
  }
  row.classList.remove("flash-up", "flash-down");
  requestAnimationFrame(() => row.classList.add(name));
}

function makeRow(symbol: string, name: string): Row {
  const price = element("td", { class: "number" }, "–");
  const change = element("td", { class: "number" }, "–");
  const row = element(
    "tr",
    { "data-symbol": symbol },
    element("th", { scope: "row", title: name }, symbol),
    element("td", { class: "company" }, name),
    price,
    change,
  );
  return { row, price, change };
}
