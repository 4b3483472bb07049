/** What a client has done so far. The object is the same all the time; reading it costs nothing. */
export interface Stats {
  bytesIn: number;
  bytesOut: number;
  messagesIn: number;
  messagesOut: number;
  /** Deltas, catch-ups among them, and snapshots that were applied. */
  deltas: number;
  snapshots: number;
  /** Snapshots asked for because something did not fit. */
  resyncs: number;
  /** Connections that opened; all but the first are reconnects. */
  connections: number;
  /** Of them, those that brought the same seat back, and those after which nothing was missing. */
  resumed: number;
  recovered: number;
  /** Events that this client was too slow for. */
  eventsLost: number;
  inputsSent: number;
  /** Bytes that wait for a connection. */
  offlineBytes: number;
  /** Handlers that threw. */
  handlerErrors: number;
}

export const newStats = (): Stats => ({
  bytesIn: 0,
  bytesOut: 0,
  messagesIn: 0,
  messagesOut: 0,
  deltas: 0,
  snapshots: 0,
  resyncs: 0,
  connections: 0,
  resumed: 0,
  recovered: 0,
  eventsLost: 0,
  inputsSent: 0,
  offlineBytes: 0,
  handlerErrors: 0,
});
