// Who leads, and what just happened to whom.

import { byId, element, setText } from "../frame/dom.js";
import { hue } from "../frame/palette.js";
import type { Game } from "./game.js";
import type { Kill } from "./news.js";

const ROWS_MAX = 8;
const KILLS_MAX = 4;
const KILL_SHOWN_MS = 6_000;

/** Lists the movers: those of an arena by score, those of a world that are players. */
export function showScores(game: Game): void {
  const { room } = game;
  const movers = [...room.state.look].filter(([entity, { kind }]) =>
    game.type === "arena" ? game.isMover(entity) : kind === 1,
  );
  const scoreOf = (entity: number) =>
    game.type === "arena" ? (room.state.vitals.get(entity)?.score ?? 0) : 0;
  const ranked = movers
    .map(([entity, look]) => ({ entity, look, score: scoreOf(entity) }))
    .sort((a, b) => b.score - a.score || a.entity - b.entity);
  const shown = ranked.slice(0, ROWS_MAX);
  const own = ranked.findIndex(({ entity }) => entity === room.entity);
  if (own >= ROWS_MAX) {
    shown[ROWS_MAX - 1] = ranked[own] as (typeof ranked)[number];
  }
  const rows = shown.map((row) => {
    const place = game.placeOf(row.entity);
    const isOwn = row.entity === room.entity;
    const away = room.state.profile.get(row.entity)?.away ? " (away)" : "";
    const dot = element("span", { class: "swatch" });
    dot.style.background = hue(row.look.colour);
    return element(
      "li",
      {
        class: isOwn ? "own" : undefined,
        "data-entity": row.entity,
        "data-x": place?.x.toFixed(1),
        "data-y": place?.y.toFixed(1),
      },
      dot,
      element("span", { class: "who" }, game.nameOf(row.entity) + away),
      game.type === "arena" ? element("b", {}, row.score) : "",
    );
  });
  byId("scores").replaceChildren(...rows);
}

/** Says who is out. */
export function showKill(game: Game, { victim, shooter }: Kill): void {
  const name = (entity: number) => (entity === game.room.entity ? "You" : game.nameOf(entity));
  const isOwn = victim === game.room.entity || shooter === game.room.entity;
  const whom = victim === game.room.entity ? "you" : game.nameOf(victim);
  const out = victim === game.room.entity ? "You are out" : `${name(victim)} is out`;
  const text = shooter === undefined ? out : `${name(shooter)} beat ${whom}`;
  const list = byId("kills");
  while (list.childElementCount >= KILLS_MAX) {
    list.firstElementChild?.remove();
  }
  const line = element("li", { class: isOwn ? "own" : undefined }, text);
  list.append(line);
  setTimeout(() => line.remove(), KILL_SHOWN_MS);
}

/** The own health, magazine and score. */
export function showOwn(game: Game): void {
  const { room } = game;
  const vitals = room.state.vitals.get(room.entity);
  const weapon = room.state.weapon.get(room.entity);
  const hp = vitals?.hp ?? 0;
  const meter = byId<HTMLMeterElement>("hp");
  meter.value = hp;
  setText(byId("hp-text"), hp > 0 ? `${hp}` : "out");
  const ammo = weapon?.ammo ?? 0;
  setText(byId("ammo"), ammo > 1 ? `${ammo} shots` : ammo === 1 ? "1 shot" : "reloading");
  setText(byId("score"), `${vitals?.score ?? 0} points`);
  byId("fallen").hidden = room.isSpectator || hp > 0;
}
