// Written by scripts/wire.mjs from protocol/schema/wire.fbs: edit that and run it again.

/** The names of FieldType, by their numbers on the wire. */
export const fieldType = [
  "U8",
  "I8",
  "U16",
  "I16",
  "U32",
  "I32",
  "F32",
  "Bool",
  "Quant8",
  "Quant16",
  "Quant24",
  "Quant32",
  "EntityRef",
] as const;

export type FieldType = (typeof fieldType)[number];

/** The names of QuantMode, by their numbers on the wire. */
export const quantMode = [
  "Clamp",
  "Wrap",
] as const;

export type QuantMode = (typeof quantMode)[number];

/** The names of Interpolation, by their numbers on the wire. */
export const interpolation = [
  "Step",
  "Linear",
  "Angle",
] as const;

export type Interpolation = (typeof interpolation)[number];

/** The names of ComponentKind, by their numbers on the wire. */
export const componentKind = [
  "Packed",
  "Opaque",
  "Props",
] as const;

export type ComponentKind = (typeof componentKind)[number];

/** The names of Scope, by their numbers on the wire. */
export const scope = [
  "Room",
  "Owner",
  "Team",
] as const;

export type Scope = (typeof scope)[number];

/** The names of WritePolicy, by their numbers on the wire. */
export const writePolicy = [
  "Server",
  "Owner",
  "Members",
  "Host",
] as const;

export type WritePolicy = (typeof writePolicy)[number];

/** The names of JoinMode, by their numbers on the wire. */
export const joinMode = [
  "JoinOrCreate",
  "Create",
  "Join",
] as const;

export type JoinMode = (typeof joinMode)[number];

/** The names of ResyncReason, by their numbers on the wire. */
export const resyncReason = [
  "Gap",
  "Malformed",
  "HashMismatch",
] as const;

export type ResyncReason = (typeof resyncReason)[number];

/** The names of Switch, by their numbers on the wire. */
export const switchNames = [
  "Keep",
  "Off",
  "On",
] as const;

export type Switch = (typeof switchNames)[number];

/** The names of RefusalCode, by their numbers on the wire. */
export const refusalCode = [
  "UnknownRoomType",
  "BadRoomName",
  "BadOptions",
  "RoomFull",
  "ServerFull",
  "AlreadyJoined",
  "NotJoined",
  "Denied",
  "NotAllowed",
  "Conflict",
  "Invalid",
  "Busy",
  "UnknownRoom",
  "RoomExists",
  "RoomLocked",
  "WrongPassword",
  "BadSeat",
] as const;

export type RefusalCode = (typeof refusalCode)[number];

/** The names of LeaveReason, by their numbers on the wire. */
export const leaveReason = [
  "Asked",
  "Kicked",
  "Replaced",
  "RoomEnded",
] as const;

export type LeaveReason = (typeof leaveReason)[number];

/**
 * An empty `room` leaves it to the server: one that fits `filter`, or a new one. `metadata` is that
 * of a new room. Both are properties in the grammar of SPEC.md.
 */
export interface Join {
  roomType: string;
  room: string;
  name?: string;
  options?: Uint8Array;
  /** An index of {@link joinMode}. */
  mode?: number;
  spectate?: boolean;
  password?: string;
  seat?: Uint8Array;
  metadata?: Uint8Array;
  filter?: Uint8Array;
  resume?: Resume;
}

/**
 * What a client had when its connection broke. `eventsFrom` and `privateFrom` are the numbers of
 * the first events it has not heard; `tick` 0 asks for a snapshot.
 */
export interface Resume {
  member?: number;
  token?: Uint8Array;
  tick?: number;
  eventsFrom?: number;
  privateFrom?: number;
}

export interface Leave {}

/**
 * `renderQ8` is the moment that the player saw when it acted, in 256ths of a tick; 0 for the newest.
 */
export interface Input {
  seq?: number;
  appliedTick?: number;
  row?: Uint8Array;
  renderQ8?: number;
}

export interface Ping {
  clientUs?: number;
}

export interface Resync {
  haveTick?: number;
  /** An index of {@link resyncReason}. */
  reason?: number;
}

/**
 * `changes` is the body of a delta chunk in the other direction: what leaves, what enters, values.
 * `ifTick`, unless 0, makes it conditional: nothing it touches may have changed after that tick.
 */
export interface Write {
  op?: number;
  ifTick?: number;
  changes?: Uint8Array;
}

export interface Publish {
  op?: number;
  topic?: number;
  to?: number[];
  body?: Uint8Array;
}

/**
 * The host changes its room. An absent field stays as it is; an empty password removes it.
 */
export interface Configure {
  op?: number;
  /** An index of {@link switchNames}. */
  locked?: number;
  /** An index of {@link switchNames}. */
  listed?: number;
  password?: string;
  metadata?: Uint8Array;
}

/**
 * The host takes a member's seat away.
 */
export interface Kick {
  op?: number;
  member?: number;
  message?: string;
}

/**
 * Where the member looks; with `own`, at its own entity again.
 */
export interface Interest {
  x?: number;
  y?: number;
  own?: boolean;
}

/**
 * Once a second: how far the client's picture is, and whether anybody sees it.
 */
export interface Report {
  appliedTick?: number;
  hidden?: boolean;
}

/**
 * `token` is for `Resume`, once, within `graceMs` of the end of the connection. `recovered` says that
 * a resume got the same seat and will miss nothing.
 * `tickUs` is 0 in a room that has no rate: it ticks when something changed.
 */
export interface Joined {
  member: number;
  entity: number;
  tick: number;
  tickUs: number;
  sendEvery: number;
  epochUs: number;
  schema: RoomSchema;
  room: string;
  token: Uint8Array;
  graceMs: number;
  recovered: boolean;
  spectator: boolean;
}

/**
 * A component's id is its position in `components`, a topic's its position in `topics`.
 * `entities` says who may add and remove entities that belong to the room.
 */
export interface RoomSchema {
  components: ComponentDesc[];
  input: FieldDesc[];
  topics: TopicDesc[];
  /** An index of {@link writePolicy}. */
  entities: number;
  interest?: InterestDesc;
}

export interface ComponentDesc {
  name: string;
  /** An index of {@link componentKind}. */
  kind: number;
  /** An index of {@link scope}. */
  scope: number;
  fields: FieldDesc[];
  contentType: string;
  valueBytesMax: number;
  /** An index of {@link writePolicy}. */
  write: number;
  tree: boolean;
  motion: boolean;
}

export interface FieldDesc {
  name: string;
  /** An index of {@link fieldType}. */
  type: number;
  /** An index of {@link quantMode}. */
  mode: number;
  min: number;
  max: number;
  /** An index of {@link interpolation}. */
  interpolation: number;
}

export interface TopicDesc {
  name: string;
  /** An index of {@link writePolicy}. */
  publish: number;
  history: boolean;
}

/**
 * The plane that entities with a value of `component` are on, by its fields `x` and `y`, is cut
 * into square cells; members get the cells around their own entity or their camera.
 */
export interface InterestDesc {
  component: number;
  x: number;
  y: number;
  cellSize: number;
  rings: RingDesc[];
}

/**
 * Members up to `distance` cells away get motion with every `every`th state. `distance` ascends.
 */
export interface RingDesc {
  distance: number;
  every: number;
}

/**
 * `base` is the tick this delta starts from; 0 makes it a snapshot, which replaces everything.
 * `ackOp` is the last write that was accepted or refused, 0 when none was since the
 * delta before. `loadLevel`, 0 to 4, says how much the server leaves out to keep up.
 * `chunks` is the last vector of the buffer: its bytes are shared by every member of the room.
 */
export interface Delta {
  tick: number;
  base: number;
  ackSeq: number;
  margin: number;
  chunks: Uint8Array;
  ackOp: number;
  loadLevel: number;
}

/**
 * A room's time runs at `scaleQ16` / 65536 of real time.
 */
export interface TimeSync {
  clientUs: number;
  serverUs: number;
  tick: number;
  epochUs: number;
  scaleQ16: number;
}

export interface Refused {
  /** An index of {@link refusalCode}. */
  code: number;
  message: string;
  retryMs: number;
  op: number;
}

export interface Left {
  /** An index of {@link leaveReason}. */
  reason: number;
  message: string;
}

/**
 * The write or publication `op` takes effect in `tick`; `entities` are those it added, in order.
 */
export interface Accepted {
  op: number;
  tick: number;
  entities: number[];
}

/**
 * The server stops: close, and come back after `retryMs`.
 */
export interface GoAway {
  retryMs: number;
}

/** The messages of a client, by their tag less one. */
export const clientBody = [
  "Join",
  "Leave",
  "Input",
  "Ping",
  "Resync",
  "Write",
  "Publish",
  "Configure",
  "Kick",
  "Interest",
  "Report",
] as const;

export interface ClientMessages {
  Join: Join;
  Leave: Leave;
  Input: Input;
  Ping: Ping;
  Resync: Resync;
  Write: Write;
  Publish: Publish;
  Configure: Configure;
  Kick: Kick;
  Interest: Interest;
  Report: Report;
}

/** The messages of a server, by their tag less one. */
export const serverBody = [
  "Joined",
  "Delta",
  "TimeSync",
  "Refused",
  "Left",
  "Accepted",
  "GoAway",
] as const;

export interface ServerMessages {
  Joined: Joined;
  Delta: Delta;
  TimeSync: TimeSync;
  Refused: Refused;
  Left: Left;
  Accepted: Accepted;
  GoAway: GoAway;
}

/** How tables lie: fields in order; `flat.ts` says what the letters mean. */
export const layouts: Record<string, string> = {
  Join: "roomType:s! room:s! name:s options:y mode:e3 spectate:z password:s seat:y metadata:y filter:y resume:Resume",
  Resume: "member:h token:y tick:u eventsFrom:l privateFrom:l",
  Leave: "",
  Input: "seq:u appliedTick:u row:y renderQ8:l",
  Ping: "clientUs:l",
  Resync: "haveTick:u reason:e3",
  Write: "op:u ifTick:u changes:y",
  Publish: "op:u topic:h to:[h body:y",
  Configure: "op:u locked:e3 listed:e3 password:s metadata:y",
  Kick: "op:u member:h message:s",
  Interest: "x:f y:f own:z",
  Report: "appliedTick:u hidden:z",
  Joined: "member:h entity:u tick:u tickUs:u sendEvery:b=1 epochUs:l schema:RoomSchema! room:s token:y graceMs:u recovered:z spectator:z",
  RoomSchema: "components:[ComponentDesc! input:[FieldDesc! topics:[TopicDesc entities:e4 interest:InterestDesc",
  ComponentDesc: "name:s! kind:e3 scope:e3 fields:[FieldDesc contentType:s valueBytesMax:u=4096 write:e4 tree:z motion:z",
  FieldDesc: "name:s! type:e13 mode:e2 min:d max:d=1 interpolation:e3",
  TopicDesc: "name:s! publish:e4 history:z",
  InterestDesc: "component:b x:b y:b=1 cellSize:f=1 rings:[RingDesc!",
  RingDesc: "distance:b every:b=1",
  Delta: "tick:u base:u ackSeq:u margin:i chunks:y ackOp:u loadLevel:b",
  TimeSync: "clientUs:l serverUs:l tick:u epochUs:l scaleQ16:u=65536",
  Refused: "code:e17 message:s! retryMs:u op:u",
  Left: "reason:e4 message:s",
  Accepted: "op:u tick:u entities:[u",
  GoAway: "retryMs:u",
};
