/** Every bound of the HTTP face, by name and with its unit. */
export interface HttpLimits {
  readonly connectionsMax: number;
  /** Of one address that is not this machine's: a site behind one address has thousands of programs. */
  readonly addressConnectionsMax: number;
  readonly addressRequestsPerSecond: number;
  /** How many requests of one address may come at once. */
  readonly addressBurst: number;
  /** Of sessions that are there, when the address has no other share left: they are refused last. */
  readonly addressHeartbeatsPerSecond: number;
  readonly addressHeartbeatBurst: number;
  /** Of one token, with its logins, or one certificate: half of what a whole address has. */
  readonly clientRequestsPerSecond: number;
  readonly clientBurst: number;
  /** Requests that wait for their answers, for a seat, say. */
  readonly clientUnderWayMax: number;
  /** Of the event streams: pages that find none open ask from time to time. */
  readonly clientStreamsMax: number;
  /** Of sessions that are there: 100,000 with one token at one server beat 5,000 times a second. */
  readonly clientHeartbeatsPerSecond: number;
  readonly clientHeartbeatBurst: number;
  readonly clientHeartbeatsUnderWayMax: number;
  readonly headersBytesMax: number;
  readonly headersMs: number;
  /** From the first byte of a request to the last: what ends slow bodies. */
  readonly requestMs: number;
  /** An idle connection is kept this long: a client's heartbeats mostly find one open. */
  readonly keepAliveMs: number;
  /** How much of a body that is too large is read and thrown away, so that the refusal is read. */
  readonly drainBytesMax: number;
  /** Of all bodies that are not complete yet, beyond the first piece of each. */
  readonly pendingBytesMax: number;
  readonly eventStreamsMax: number;
  /** A stream whose reader is this far behind is cut; the reader starts again from the lists. */
  readonly eventBufferBytesMax: number;
  readonly eventKeepAliveMs: number;
  /** The latest events, for readers that were cut; together they fit in a stream's buffer. */
  readonly eventsKeptMax: number;
  /** Past this event-loop lag new requests are told to back off (design section 4.4). */
  readonly lagNewMs: number;
  /** Past this one heartbeats are, too; they come last. */
  readonly lagHeartbeatMs: number;
  readonly busyRetryMs: number;
  /** After this, `close` cuts what still runs. */
  readonly closeGraceMs: number;
}

export const HTTP_LIMITS: HttpLimits = {
  connectionsMax: 20_000,
  addressConnectionsMax: 4_000,
  addressRequestsPerSecond: 2_000,
  addressBurst: 8_000,
  addressHeartbeatsPerSecond: 2_000,
  addressHeartbeatBurst: 8_000,
  clientRequestsPerSecond: 1_000,
  clientBurst: 4_000,
  clientUnderWayMax: 2_000,
  clientStreamsMax: 20,
  clientHeartbeatsPerSecond: 10_000,
  clientHeartbeatBurst: 40_000,
  clientHeartbeatsUnderWayMax: 10_000,
  headersBytesMax: 16 * 1024,
  headersMs: 10_000,
  requestMs: 15_000,
  keepAliveMs: 30_000,
  drainBytesMax: 1024 * 1024,
  pendingBytesMax: 128 * 1024 * 1024,
  eventStreamsMax: 100,
  eventBufferBytesMax: 256 * 1024,
  eventKeepAliveMs: 15_000,
  eventsKeptMax: 1_000,
  lagNewMs: 50,
  lagHeartbeatMs: 500,
  busyRetryMs: 500,
  closeGraceMs: 2_000,
};
