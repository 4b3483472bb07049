// What changed from tick to tick that is worth telling: who was hit, who is out, and who did it.

import type { Game } from "./game.js";

/** Points of a kill; a pickup is worth one. */
const KILL_SCORE = 5;

interface Vitals {
  hp: number;
  score: number;
  streak: number;
}

/** Somebody is out. */
export interface Kill {
  victim: number;
  /** Undefined when several fired at once and nobody can tell. */
  shooter: number | undefined;
}

export interface NewsHandlers {
  onHit(entity: number): void;
  onKill(kill: Kill): void;
}

/** Compares the vitals of each tick with those before; for arenas alone. */
export function watchVitals(game: Game, handlers: NewsHandlers): void {
  const { room } = game;
  const before = new Map<number, Vitals>();
  room.on("tick", ({ isSnapshot }) => {
    const victims: number[] = [];
    const shooters: number[] = [];
    for (const [entity, { hp, score, streak }] of room.state.vitals) {
      const old = before.get(entity);
      before.set(entity, { hp, score, streak });
      // What a snapshot brings may have happened long ago.
      if (!old || isSnapshot) {
        continue;
      }
      if (hp < old.hp) {
        handlers.onHit(entity);
      }
      if (hp === 0 && old.hp > 0) {
        victims.push(entity);
      }
      if (score - old.score >= KILL_SCORE) {
        shooters.push(entity);
      }
    }
    for (const victim of victims) {
      const others = shooters.filter((entity) => entity !== victim);
      handlers.onKill({ victim, shooter: others.length === 1 ? others[0] : undefined });
    }
  });
  room.state.vitals.onRemove((_, entity) => before.delete(entity));
}
