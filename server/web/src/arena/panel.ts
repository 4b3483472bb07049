// Figures for the curious: how old what they see is, and what it costs.

import type { Client } from "@tickloom/client";
import { byId, setText } from "../frame/dom.js";
import type { Game } from "./game.js";

const EVERY_MS = 250;
const RATE_OVER_MS = 1_000;

/** Shows figures of a game until it is left. Returns how to stop. */
export function showFigures(client: Client, game: Game): () => void {
  const { room } = game;
  let beforeMs = performance.now();
  let [bytesIn, bytesOut] = [client.stats.bytesIn, client.stats.bytesOut];
  const update = () => {
    const nowMs = performance.now();
    const put = (id: string, text: string) => setText(byId(`figure-${id}`), text);
    const { rttMs, jitterMs } = room.clock;
    put("tick", String(room.tick));
    put("age", milliseconds(game.ageMs()));
    put("delay", game.isInterpolating ? milliseconds(game.delayMs) : "off");
    put("rtt", milliseconds(rttMs));
    put("jitter", milliseconds(jitterMs));
    put("load", loads[room.loadLevel] ?? String(room.loadLevel));
    put("entities", String(room.entities.size));
    put("drift", game.drift);
    const elapsedMs = nowMs - beforeMs;
    if (elapsedMs >= RATE_OVER_MS) {
      const { stats } = client;
      put("in", rate(stats.bytesIn - bytesIn, elapsedMs));
      put("out", rate(stats.bytesOut - bytesOut, elapsedMs));
      [bytesIn, bytesOut, beforeMs] = [stats.bytesIn, stats.bytesOut, nowMs];
    }
  };
  const timer = setInterval(() => document.hidden || update(), EVERY_MS);
  update();
  return () => clearInterval(timer);
}

/** What the server leaves out to keep up. */
const loads = [
  "0, nothing left out",
  "1, far cells",
  "2, every other state",
  "3, joins",
  "4, time",
];

function milliseconds(value: number | undefined): string {
  return value === undefined || !Number.isFinite(value) ? "–" : `${value.toFixed(1)} ms`;
}

function rate(bytes: number, elapsedMs: number): string {
  const perSecond = (bytes * 1000) / elapsedMs;
  return perSecond < 1000 ? `${perSecond.toFixed(0)} B/s` : `${(perSecond / 1000).toFixed(1)} kB/s`;
}
