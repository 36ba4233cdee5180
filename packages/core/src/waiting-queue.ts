/**
 * Requests that wait for a seat of one feature, at the leader (design section 4.6, Waiting). A place is
 * kept as long as the request is repeated; who does not come back loses it. Order: ticket, first come.
 */
import { QUEUE_PLACES_MAX } from "./limits.ts";

export interface Waiting {
  readonly session: string;
  readonly ticket: number;
  seats: number;
  member: string;
  /** Monotonic; the place is lost when the request was not repeated by then. */
  keptUntilMs: number;
}

export class WaitingQueue {
  private readonly waiting = new Map<string, Waiting>();
  private nextTicket: number;

  constructor(firstTicket = 1) {
    this.nextTicket = firstTicket;
  }

  /** Enters or keeps the place of a session. Null when the queue is full. */
  keep(
    session: string,
    seats: number,
    member: string,
    ticket: string | null,
    keptUntilMs: number,
  ): Waiting | null {
    const known = this.waiting.get(session);
    if (known !== undefined) {
      known.seats = seats;
      known.member = member;
      known.keptUntilMs = keptUntilMs;
      return known;
    }
    if (this.waiting.size >= QUEUE_PLACES_MAX) return null;
    // A ticket from before a change of leader keeps its order against the others who waited then.
    const brought = ticket !== null && /^\d{1,15}$/.test(ticket) ? Number(ticket) : null;
    const number = brought ?? this.nextTicket;
    this.nextTicket = Math.max(this.nextTicket, number) + 1;
    const entry: Waiting = { session, ticket: number, seats, member, keptUntilMs };
    this.waiting.set(session, entry);
    return entry;
  }

  leave(session: string): void {
    this.waiting.delete(session);
  }

  /** Drops the places that were not kept. */
  expire(nowMs: number): void {
    for (const [session, entry] of this.waiting) {
      if (entry.keptUntilMs <= nowMs) this.waiting.delete(session);
    }
  }

  ticketOf(session: string): number | null {
    return this.waiting.get(session)?.ticket ?? null;
  }

  has(session: string): boolean {
    return this.waiting.has(session);
  }

  get size(): number {
    return this.waiting.size;
  }

  /** Everybody who waits, first come first. */
  inOrder(): Waiting[] {
    return [...this.waiting.values()].sort((a, b) => a.ticket - b.ticket);
  }

  /** Seats wanted by those who came before this session; all of them for a session that is not in it. */
  seatsAhead(session: string): number {
    const own = this.waiting.get(session)?.ticket ?? Number.POSITIVE_INFINITY;
    let seats = 0;
    for (const entry of this.waiting.values()) if (entry.ticket < own) seats += entry.seats;
    return seats;
  }

  /** Place in the queue, from 1. */
  place(session: string): number {
    const own = this.waiting.get(session)?.ticket ?? Number.POSITIVE_INFINITY;
    let place = 1;
    for (const entry of this.waiting.values()) if (entry.ticket < own) place += 1;
    return place;
  }
}
