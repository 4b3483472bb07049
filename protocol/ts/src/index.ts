/**
 * The client of Tickloom, a realtime room server.
 *
 * ```text
 * connect() -> Client -- join() --> Room: state, presence, input, send / onEvent, write
 *                                     '-- interpolate(), predict(): what to draw
 * ```
 *
 * @packageDocumentation
 */
import { Client } from "./client.js";
import type { Address, ClientOptions } from "./options.js";

/**
 * Connects to a server, and stays connected: `connect("wss://play.example/ws")`. A path alone is
 * one of the page's own host. Never throws: what is wrong shows in the client's state.
 */
export const connect = (address: Address = "/ws", options: ClientOptions = {}): Client =>
  new Client(address, options);

export type { AskOptions } from "./asking.js";
export type { PropValue } from "./bytes.js";
export type { Changes, NewEntity } from "./changes.js";
export type { Client } from "./client.js";
export type { WebSocketClass, WebSocketLike } from "./connection.js";
export type { Unsubscribe } from "./emitter.js";
export { type ErrorCode, TickloomError } from "./errors.js";
export type { RoomEvent } from "./events.js";
export type { InputSender } from "./input.js";
export { interpolate } from "./interpolate.js";
export type {
  Address,
  ClientEvents,
  ClientOptions,
  ConnectionState,
  JoinOptions,
} from "./options.js";
export { keyBetween } from "./ordering.js";
export { predict } from "./predict.js";
export type { Other, Presence } from "./presence.js";
export type { Entity } from "./replica.js";
export type { Room, RoomEvents, RoomStatus, TickInfo } from "./room.js";
export type { RoomClock } from "./room_clock.js";
export type { Row } from "./rows.js";
export type { Component, Schema } from "./schema.js";
export { type AnyShape, type RoomType, roomType, type Shape, type Writable } from "./shape.js";
export type { Stats } from "./stats.js";
export type { Props, Table } from "./table.js";
export type { Timers } from "./timers.js";
