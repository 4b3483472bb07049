/**
 * Hooks for React 18 and later.
 *
 * State changes in place, many times a second; a component sees copies of it, a few times a second,
 * and what did not change in them is the same object as before. Who draws every frame reads tables
 * in `requestAnimationFrame` and needs no hook for that.
 */
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import type {
  AnyShape,
  Client,
  ConnectionState,
  JoinOptions,
  Other,
  Room,
  RoomEvent,
  RoomStatus,
  RoomType,
  Shape,
  Table,
  Unsubscribe,
} from "./index.js";
import type { TopicOf } from "./shape.js";

/** How often a component may be rendered again. */
export interface SampleOptions {
  /** Times a second, 10 unless said. What changes after a pause is shown at once. */
  fps?: number;
}

/** A room that is joined as long as a component is there. */
export interface RoomUse<S extends Shape = AnyShape> {
  /** Undefined until the server gave a seat. */
  readonly room?: Room<S>;
  readonly status: "joining" | "failed" | RoomStatus;
  /** Why there is no seat, when `status` is `"failed"`: a `TickloomError` as a rule. */
  readonly error?: unknown;
}

type Subscribe = (changed: () => void) => Unsubscribe;

const joining: RoomUse = { status: "joining" };
const nobody: readonly never[] = [];

/** When the last seat of a client is given back: it has one at a time, so the next one waits. */
const ends = new WeakMap<Client, Promise<unknown>>();

/** The state of the connection. */
export function useConnection(client: Client): ConnectionState {
  const state = () => client.state;
  return useSyncExternalStore((changed) => client.on("state", changed), state, state);
}

/** Whether there has been no connection for more than 5 s: time to tell people. */
export function useLostConnection(client: Client): boolean {
  const [isLost, setLost] = useState(false);
  useEffect(
    () =>
      all(
        client.on("lost", () => setLost(true)),
        client.on("restored", () => setLost(false)),
      ),
    [client],
  );
  return isLost;
}

/**
 * Joins a room, and leaves it when the component goes. With another type or other options it leaves
 * that room and joins the one they name. A client has one seat, so use this once per client.
 */
export function useRoom<S extends Shape = AnyShape>(
  client: Client,
  type: string | RoomType<S>,
  { how = "join", ...options }: JoinOptions & { how?: "join" | "create" | "spectate" } = {},
): RoomUse<S> {
  const [use, setUse] = useState(joining);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the text stands for type and options
  useEffect(() => {
    let isHere = true;
    // A component that goes in the same task, as all do once in StrictMode, asks for nothing.
    const asked: Promise<Room | undefined> = Promise.resolve(ends.get(client)).then(() =>
      isHere ? client[how](type, options as { room: string }) : undefined,
    );
    const show = (room = {} as Room) => isHere && setUse({ room, status: room.status });
    asked.then(
      (room) => {
        room?.on("dropped", () => show(room));
        room?.on("resumed", () => show(room));
        room?.on("left", () => show(room));
        show(room);
      },
      (error) => isHere && setUse({ status: "failed", error }),
    );
    return () => {
      isHere = false;
      setUse(joining);
      ends.set(
        client,
        asked.then(
          (room) => room?.leave(),
          () => {},
        ),
      );
    };
  }, [client, JSON.stringify([type, how, options])]);
  return use as RoomUse<S>;
}

/**
 * The values of a component with their entities; none while there is no table yet. Draw them with
 * `rows.map(([entity, value]) => <li key={entity}>...)`.
 */
export function useTable<V>(
  table: Table<V> | undefined,
  options?: SampleOptions,
): readonly (readonly [entity: number, value: V])[] {
  return useSample(changes(table), () => [...(table ?? nobody)], options, table);
}

/**
 * What `select` makes of an entity's value, by default all of it; it is told `undefined` while there
 * is none, and returns plain objects, arrays or simple values. The component is rendered again only
 * when they say something else than before.
 */
export function useEntity<V, T = V | undefined>(
  table: Table<V> | undefined,
  entity: number,
  select: (value: V | undefined) => T = (value) => value as T,
  options?: SampleOptions,
): T {
  return useSample(
    changes(table, entity),
    () => select(table?.get(entity)),
    options,
    table,
    entity,
  );
}

/** Everybody else in the room, with what they say of themselves. */
export function usePresence<S extends Shape = AnyShape>(
  room: Room<S> | undefined,
  options?: SampleOptions,
): readonly Other<S>[] {
  const changes: Subscribe | undefined = room && ((changed) => room.on("tick", changed));
  return useSample(changes, () => room?.presence.others ?? nobody, options, room);
}

/** Calls `handler`, always the newest, with what is said on a topic. */
export function useEvent<S extends Shape = AnyShape>(
  room: Room<S> | undefined,
  topic: TopicOf<S>,
  handler: (event: RoomEvent) => void,
): void {
  const newest = useRef(handler);
  useEffect(() => {
    newest.current = handler;
  });
  useEffect(() => room?.onEvent(topic, (event) => newest.current(event)), [room, topic]);
}

/** Looks at what `read` returns when it changes, but not more often than it should. */
function useSample<T>(
  changes: Subscribe | undefined,
  read: () => T,
  { fps = 10 }: SampleOptions = {},
  ...of: unknown[]
): T {
  const last = useRef<T>(undefined);
  const sample = () => (last.current = keep(last.current, read()));
  return useSyncExternalStore(
    // biome-ignore lint/correctness/useExhaustiveDependencies: `of` names what changes
    useCallback(
      (changed) => {
        let timer: ReturnType<typeof setTimeout> | undefined;
        let atMs = 0;
        const stop = changes?.(() => {
          timer ??= setTimeout(() => {
            timer = undefined;
            atMs = Date.now() + 1000 / fps;
            changed();
          }, atMs - Date.now());
        });
        return all(stop, () => clearTimeout(timer));
      },
      [fps, ...of],
    ),
    sample,
    sample,
  );
}

const changes = <V>(table: Table<V> | undefined, entity?: number): Subscribe | undefined =>
  table &&
  ((changed) => {
    const tell = (_: unknown, id: number) => (entity ?? id) === id && changed();
    return all(table.onAdd(tell), table.onChange(tell), table.onRemove(tell));
  });

const all =
  (...stops: (Unsubscribe | undefined)[]): Unsubscribe =>
  () => {
    stops.map((stop) => stop?.());
  };

/**
 * A copy of what changes in place: plain objects, arrays and simple values. Whatever in it has the
 * content it had before is the same object as before.
 */
function keep<T>(before: unknown, value: T): T {
  if (!value || typeof value !== "object" || ArrayBuffer.isView(value)) {
    return value;
  }
  // Keys may be anything that other members wrote, `__proto__` too.
  const copy = (Array.isArray(value) ? [] : Object.create(null)) as T;
  let isSame = !!before && Object.keys(before).length === Object.keys(value).length;
  for (const key in value) {
    const old = (before as T | undefined)?.[key];
    copy[key] = keep(old, value[key]);
    isSame &&= Object.is(copy[key], old);
  }
  return isSame ? (before as T) : copy;
}
