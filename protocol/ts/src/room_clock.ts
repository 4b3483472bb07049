import type { ServerClock, Timetable } from "./clock.js";
import type { Timers } from "./timers.js";

/** The server's time as this client estimates it, and when the room's ticks are due. */
export class RoomClock {
  /** What time it is here, for `interpolate` and `predict`; so are the next two. */
  readonly timers: Timers;
  /** The server's clock. */
  readonly server: ServerClock;
  /** The room's ticks. */
  timetable: Timetable;

  /** @internal */
  constructor(timers: Timers, server: ServerClock, timetable: Timetable) {
    this.timers = timers;
    this.server = server;
    this.timetable = timetable;
  }

  /** Milliseconds of the server's clock, which has an origin of its own; undefined while unknown. */
  get serverNowMs(): number | undefined {
    const us = this.server.serverAt(this.timers.nowUs());
    return us && us / 1000;
  }

  /** The tick that is due now, with its fraction; undefined in a room without a rate. */
  get tickNow(): number | undefined {
    const us = this.server.serverAt(this.timers.nowUs());
    return us && this.timetable.tickAt(us);
  }

  /** The shortest round trip of the last pings, in milliseconds; undefined before the first. */
  get rttMs(): number | undefined {
    const { oneWayUs } = this.server;
    return oneWayUs && (2 * oneWayUs) / 1000;
  }

  /** How unevenly states arrive, in milliseconds (RFC 3550 section 6.4.1). */
  get jitterMs(): number {
    return this.server.jitterUs / 1000;
  }

  /** How old the state of a tick is now, in milliseconds; undefined while unknown. */
  ageMs(tick: number): number | undefined {
    const nowMs = this.serverNowMs;
    return nowMs && this.timetable.tickUs ? nowMs - this.timetable.dueUs(tick) / 1000 : undefined;
  }
}
