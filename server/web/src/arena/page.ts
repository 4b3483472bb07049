// The arena, and with `?type=world` the world: from a name to a seat, and then frame by frame.

import { type Client, roomType } from "@tickloom/client";
import { drawFrames, type Frame } from "../frame/canvas.js";
import { byId, setText } from "../frame/dom.js";
import { openLine } from "../frame/line.js";
import {
  clip,
  copyAddress,
  nameInAddress,
  rememberName,
  roomInAddress,
  showRoomInAddress,
  visitorName,
} from "../frame/place.js";
import { listRooms } from "../frame/rooms.js";
import { goodbye, sentence } from "../frame/sentence.js";
import { complain, say } from "../frame/toast.js";
import { Camera } from "./camera.js";
import { Controls } from "./controls.js";
import { drawGame, drawSticks } from "./draw.js";
import { Effects } from "./effects.js";
import { buttons, Game, type GameShape, type GameType } from "./game.js";
import { Minimap, type Rings } from "./minimap.js";
import { watchVitals } from "./news.js";
import { showFigures } from "./panel.js";
import { rememberPlaying, roomBeforeReload } from "./return.js";
import { showKill, showOwn, showScores } from "./scores.js";

const SCORES_EVERY_MS = 250;
const MAP_EVERY_MS = 100;
/** How far beyond the edges of the room the canvas shows, in its units. */
const BEYOND = { arena: 150, world: 30 };

const type: GameType =
  new URL(location.href).searchParams.get("type") === "world" ? "world" : "arena";
const gameType = roomType<GameShape>(type, ["body", "look", "profile", "input.move_x"]);
const main = byId("main");
const field = byId<HTMLCanvasElement>("field");
const camera = new Camera();
const controls = new Controls(field, handleKey);

/** What is played now. */
interface Play {
  client: Client;
  game: Game;
  effects: Effects;
  map: Minimap;
  /** Who is watched by somebody who does not play. */
  watched: number;
  scoresMs: number;
  mapMs: number;
  stop(): void;
}
let play: Play | undefined;

prepare();
drawFrames(field, draw);

function prepare(): void {
  if (type === "world") {
    document.title = "Walk in a world – Tickloom";
    setText(byId("start-title"), "Walk in a world");
    setText(
      byId("start-text"),
      "Two kilometres by two, too large to send whole: you get the cells around you, near ones with every state, far ones more rarely.",
    );
    setText(byId("play"), "Walk in");
    byId("keys-fire").hidden = true;
    byId("keys-leap").hidden = false;
  }
  byId<HTMLInputElement>("name").value = visitorName();
  byId("start-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void enter("play", roomInAddress());
  });
  byId("watch").onclick = () => void enter("watch", roomInAddress());
  byId("leave").onclick = () => void play?.game.room.leave();
  byId("copy").onclick = async () =>
    (await copyAddress()) ? say("The link is copied.") : complain("The browser did not let it.");
  byId("leap").onclick = () => press(buttons.leap);
  byId("home").onclick = () => press(buttons.home);
  byId<HTMLInputElement>("predicting").onchange = ({ target }) => {
    if (play) play.game.isPredicting = (target as HTMLInputElement).checked;
  };
  byId<HTMLInputElement>("interpolating").onchange = ({ target }) => {
    if (play) play.game.isInterpolating = (target as HTMLInputElement).checked;
  };
  byId<HTMLDetailsElement>("panel").open = innerWidth > 900;
  // Whoever comes by a link with a name, or loads the page again while playing, is not asked.
  const before = roomBeforeReload();
  if (nameInAddress() || before !== undefined) {
    void enter("play", before ?? roomInAddress());
  }
}

async function enter(how: "play" | "watch", asked: string): Promise<void> {
  const name = clip(byId<HTMLInputElement>("name").value) || visitorName();
  setText(byId("start-error"), "");
  setBusy(true);
  const client = openLine();
  try {
    const room =
      how === "watch"
        ? await client.spectate(gameType, { room: asked || (await fullestRoom()) })
        : await client.join(gameType, { room: asked, name, remember: true, options: crowd() });
    rememberName(name);
    showRoomInAddress(room.name);
    rememberPlaying(how === "play" ? asked : undefined);
    begin(client, new Game(room, type));
  } catch (error) {
    client.close();
    document.documentElement.dataset.state = "idle";
    setText(byId("line-text"), "Not connected");
    setText(byId("start-error"), sentence(error));
  } finally {
    setBusy(false);
  }
}

/** With how many a new room begins: `?crowd=60`, at most what the server lets one ask for. */
function crowd(): object {
  const asked = new URL(location.href).searchParams.get("crowd");
  const count = (usual: number, most: number) => {
    const number = Math.floor(Number(asked ?? usual));
    return number >= 0 ? Math.min(number, most) : usual;
  };
  return type === "arena" ? { bots: count(24, 100) } : { wanderers: count(1_500, 10_000) };
}

async function fullestRoom(): Promise<string> {
  const [room] = (await listRooms(`?type=${type}&limit=1`)).rooms;
  if (!room) {
    throw new Error("Nobody plays at the moment. Play yourself, and others may watch you.");
  }
  return room.name;
}

function begin(client: Client, game: Game): void {
  const { room } = game;
  const effects = new Effects();
  const hideFigures = showFigures(client, game);
  const now: Play = {
    client,
    game,
    effects,
    map: new Minimap(byId<HTMLCanvasElement>("map"), ringsOf(game)),
    watched: room.entity,
    scoresMs: 0,
    mapMs: 0,
    stop: hideFigures,
  };
  play = now;
  if (type === "arena") {
    watchVitals(game, {
      onHit: (entity) => effects.hit(entity),
      onKill: (kill) => {
        const place = game.placeOf(kill.victim);
        if (place) effects.burst(place, room.state.look.get(kill.victim)?.colour ?? 0);
        showKill(game, kill);
      },
    });
  }
  room.on("tick", () => {
    main.dataset.tick = String(room.tick);
    main.dataset.members = String(game.playersCount());
  });
  room.on("resumed", ({ isSame }) =>
    say(
      isSame ? "You are back in your seat." : "You are back, in another seat: the old one is gone.",
    ),
  );
  room.on("left", (why) => end(now, goodbye(why)));
  for (const id of ["own", "board", "map-box", "menu"]) {
    byId(id).hidden = false;
  }
  byId("own").hidden = room.isSpectator || type === "world";
  byId("leap").hidden = byId("home").hidden = room.isSpectator || type === "arena";
  byId("predicting").parentElement!.hidden = room.isSpectator;
  setText(byId("scores-title"), type === "arena" ? "Scores" : "Players in view");
  byId("start").hidden = true;
  field.focus({ preventScroll: true });
  if (room.isSpectator) {
    say("You watch. Press the arrow keys or tap to look at somebody else.");
  }
}

/** Back to the start. */
function end(over: Play, why: string): void {
  over.stop();
  over.game.stop();
  over.client.close();
  rememberPlaying(undefined);
  play = undefined;
  for (const id of ["own", "board", "map-box", "menu", "fallen"]) {
    byId(id).hidden = true;
  }
  byId("start").hidden = false;
  setText(byId("start-error"), why);
  byId("play").focus();
}

function draw(frame: Frame): void {
  camera.resize(frame.width, frame.height, type);
  if (!play) {
    frame.context.clearRect(0, 0, frame.width, frame.height);
    return;
  }
  const { game, effects } = play;
  const { room } = game;
  const aim = room.isSpectator ? watch(play, frame) : steerOwn(play);
  drawGame(game, frame, camera, effects, aim);
  drawSticks(frame, controls.sticks.values());
  if (frame.nowMs - play.scoresMs > SCORES_EVERY_MS) {
    play.scoresMs = frame.nowMs;
    showScores(game);
    if (type === "arena") showOwn(game);
  }
  if (frame.nowMs - play.mapMs > MAP_EVERY_MS) {
    play.mapMs = frame.nowMs;
    play.map.draw(game, camera);
  }
}

/** Looks at the own mover and says what it is to do. Returns where it looks. */
function steerOwn({ game }: Play): number | undefined {
  const { room } = game;
  const place = game.placeOf(room.entity);
  if (!place) {
    return undefined;
  }
  camera.lookAt(place);
  camera.keepWithin(game.halfExtent, BEYOND[type]);
  const { x, y, aim = place.yaw, isFiring } = controls.wish(camera.toCanvas(place));
  const fire = isFiring && type === "arena" ? buttons.fire : 0;
  room.input.set({ move_x: x, move_y: y, aim: positive(aim), buttons: fire });
  main.dataset.x = place.x.toFixed(1);
  main.dataset.y = place.y.toFixed(1);
  return aim;
}

function watch(now: Play, frame: Frame): undefined {
  const { game } = now;
  if (!game.room.state.look.has(now.watched) || now.watched === 0) {
    watchNext(now, 1);
  }
  const place = game.placeOf(now.watched);
  if (place) {
    camera.follow(place, frame.elapsedMs);
    camera.keepWithin(game.halfExtent, BEYOND[type]);
  }
}

/** Somebody else to look at: those who fight, or those who walk by. */
function watchNext(now: Play, step: number): void {
  const movers = [...now.game.room.state.look.keys()].filter((entity) => now.game.isMover(entity));
  const at = movers.indexOf(now.watched);
  const next = movers[(at + step + movers.length) % Math.max(movers.length, 1)];
  now.watched = next ?? 0;
}

function handleKey(code: string): void {
  if (code === "KeyL") press(buttons.leap);
  if (code === "KeyH") press(buttons.home);
}

/** A button of a world, pressed once. */
function press(button: number): void {
  if (play && type === "world" && !play.game.room.isSpectator) {
    play.game.room.input.once({ buttons: button });
  }
}

// Nobody steers a page that is hidden, and no frame of it would say so.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && play && !play.game.room.isSpectator) {
    play.game.room.input.set({ move_x: 0, move_y: 0, buttons: 0 });
  }
});
field.addEventListener("pointerdown", () => play?.game.room.isSpectator && watchNext(play, 1));
field.addEventListener("keydown", ({ code }) => {
  if (play?.game.room.isSpectator && code.startsWith("Arrow")) {
    watchNext(play, code === "ArrowLeft" || code === "ArrowUp" ? -1 : 1);
  }
});

function ringsOf({ room }: Game): Rings | undefined {
  const { interest } = room.schema;
  return interest
    ? { cellSize: interest.cellSize, distances: interest.rings.map(({ distance }) => distance) }
    : undefined;
}

/** Within one turn from 0, as the input has it. */
function positive(angle: number): number {
  const turn = Math.PI * 2;
  return ((angle % turn) + turn) % turn;
}

function setBusy(is: boolean): void {
  for (const id of ["play", "watch"]) {
    byId<HTMLButtonElement>(id).disabled = is;
  }
}
