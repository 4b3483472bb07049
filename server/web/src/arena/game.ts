// What is known of an arena or a world, and where everything is drawn: the own mover ahead of the
// server, everybody else a little behind it.

import { interpolate, predict, type Room } from "@tickloom/client";
import { decodeMap, HALF_EXTENT, type Obstacle } from "./map.js";
import { FIGHTER_RADIUS, type Steering, steer, type Velocity, walk } from "./steer.js";

export interface Body {
  x: number;
  y: number;
  yaw: number;
}

/** What rooms of both types hold; a world has no `vitals`, `weapon` and `map`. */
export interface GameShape {
  state: {
    body: Body;
    look: { kind: number; colour: number };
    vitals: { hp: number; score: number; streak: number };
    profile: { name?: string; away?: boolean };
    weapon: { ammo: number; cooldown: number };
    map: Uint8Array;
  };
  input: Steering;
}

export type GameRoom = Room<GameShape>;
type BodyView = ReturnType<typeof interpolate<GameRoom, "body">>;
type MoverPredictor = ReturnType<typeof predict<GameRoom, "body", Velocity>>;

/** What an entity is, as `look.kind` says it. */
export const kinds = {
  arena: { player: 1, bot: 2, projectile: 3, pickup: 4 },
  world: { player: 1, wanderer: 2 },
} as const;

/** The bits of `buttons`. */
export const buttons = { fire: 1, leap: 1, home: 2 } as const;

/** How far apart two states of an entity are when it did not walk from one to the other. */
const SNAP = { arena: 140, world: 40 };

export type GameType = "arena" | "world";

/** One room that is played or watched. */
export class Game {
  readonly room: GameRoom;
  readonly type: GameType;
  readonly halfExtent = HALF_EXTENT;
  /** Of movers, in units of the room. */
  readonly radius: number;
  obstacles: readonly Obstacle[] = [];
  #view: BodyView | undefined;
  #predictor: MoverPredictor | undefined;

  constructor(room: GameRoom, type: GameType) {
    this.room = room;
    this.type = type;
    this.radius = type === "arena" ? FIGHTER_RADIUS : 1.4;
    const read = (bytes: Uint8Array) => {
      this.obstacles = decodeMap(bytes);
    };
    if (type === "arena") {
      room.state.map.onAdd(read);
      room.state.map.onChange(read);
    }
    this.isInterpolating = true;
    this.isPredicting = !room.isSpectator;
  }

  get isInterpolating(): boolean {
    return this.#view !== undefined;
  }

  set isInterpolating(wanted: boolean) {
    this.#view?.stop();
    this.#view = wanted ? interpolate(this.room, "body", { snap: SNAP[this.type] }) : undefined;
  }

  get isPredicting(): boolean {
    return this.#predictor !== undefined;
  }

  set isPredicting(wanted: boolean) {
    this.#predictor?.stop();
    this.#predictor = wanted && !this.room.isSpectator ? this.#predict() : undefined;
  }

  /** How far behind the server the others are drawn, in milliseconds. */
  get delayMs(): number {
    return this.#view?.delayMs ?? 0;
  }

  get drift(): string {
    const drift = this.#predictor?.drift;
    return drift ? `${drift.status}, ${drift.mean.toFixed(2)} units` : "off";
  }

  /** Where an entity is drawn; undefined when it is not known to be anywhere. */
  placeOf(entity: number): Body | undefined {
    if (entity === this.room.entity && this.#predictor && this.room.state.body.has(entity)) {
      return this.#predictor.state;
    }
    return this.#view?.at(entity) ?? this.room.state.body.get(entity);
  }

  nameOf(entity: number): string {
    return this.room.state.profile.get(entity)?.name ?? `#${entity}`;
  }

  /** Whether an entity is somebody, not something. */
  isMover(entity: number): boolean {
    return (this.room.state.look.get(entity)?.kind ?? 0) <= 2;
  }

  isAlive(entity: number): boolean {
    return this.type === "world" || (this.room.state.vitals.get(entity)?.hp ?? 0) > 0;
  }

  /** Members among the movers. */
  playersCount(): number {
    let count = 0;
    for (const { kind } of this.room.state.look.values()) {
      count += kind === kinds.arena.player ? 1 : 0;
    }
    return count;
  }

  /** How old the newest state is, in milliseconds; undefined while the time is not known. */
  ageMs(): number | undefined {
    return this.room.clock.ageMs(this.room.tick);
  }

  stop(): void {
    this.isInterpolating = false;
    this.isPredicting = false;
  }

  #predict(): MoverPredictor {
    const { room } = this;
    return predict(room, {
      component: "body",
      extra: { vx: 0, vy: 0 },
      snap: SNAP[this.type],
      step: (mover, input, seconds) => {
        if (this.type === "world") {
          walk(mover, input, seconds, this.halfExtent);
        } else if (this.isAlive(room.entity)) {
          steer(mover, input, seconds, this.obstacles);
        } else {
          mover.vx = mover.vy = 0;
        }
      },
    });
  }
}
