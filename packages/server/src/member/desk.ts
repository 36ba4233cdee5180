/** What clients and administrators ask of a member, answered (design sections 4.4, 4.6 and 5). */
import {
  effectiveLifeMs,
  entryOf,
  heartbeatMs,
  majorityOf,
  QUEUE_ANSWER_MS,
  QUEUE_PLACES_MAX,
  refuse,
  type Refusal,
  seatsOf,
  type Session,
  termsVerdict,
} from "@quorate/core";
import type {
  Answer,
  AuthorizationsPage,
  AuthorizationsQuery,
  CheckoutRequest,
  FeatureRow,
  FeaturesAnswer,
  Granted,
  HeartbeatRequest,
  Holder,
  PoolAnswer,
  ReleaseAnswer,
  ReleaseRequest,
  TokenClaims,
} from "@quorate/protocol";
import type { MemberContext } from "./context.ts";
import type { Conversions } from "./conversions.ts";
import {
  LEADER_KEY,
  MEMBER_PREFIX,
  memberKeyOf,
  type MemberRecord,
  MEMBERS_KEY,
  type MembersRecord,
} from "./keys.ts";
import type { Leader } from "./leader.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { LicenseKeeper } from "./license-keeper.ts";
import type { PoolView } from "./pool-view.ts";
import type { Seats } from "./seats.ts";
import type { StoreGuard } from "./store-guard.ts";
import type { Wants } from "./wants.ts";

const QUEUE_POLL_MS = 400;
const SEAT_TRIES_MAX = 3;
const UNKNOWN_HOLDER: Holder = { user: "unknown", host: "unknown" };

export class Desk {
  private servers: readonly string[] | null = null;
  /** Sessions being entered, so that a repeated message waits for the first instead of racing it. */
  private readonly entering = new Map<string, Promise<Answer>>();
  /** Heartbeats of sessions that are not known, whose tokens are being looked at. */
  private converting = 0;

  /** The place in the queue of sessions that wait, by session. */
  private readonly tickets = new Map<string, string>();

  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  private readonly seats: Seats;
  private readonly guard: StoreGuard;
  private readonly licenses: LicenseKeeper;
  private readonly view: PoolView;
  private readonly leader: Leader;
  private readonly wants: Wants;
  private readonly conversions: Conversions;
  constructor(
    member: MemberContext,
    lease: LeaseKeeper,
    seats: Seats,
    guard: StoreGuard,
    licenses: LicenseKeeper,
    view: PoolView,
    leader: Leader,
    wants: Wants,
    conversions: Conversions,
  ) {
    this.member = member;
    this.lease = lease;
    this.seats = seats;
    this.guard = guard;
    this.licenses = licenses;
    this.view = view;
    this.leader = leader;
    this.wants = wants;
    this.conversions = conversions;
  }

  // ---- checkout -------------------------------------------------------------------------------------

  async checkout(request: CheckoutRequest): Promise<Answer> {
    if (!this.member.ports.tokens.sessionMatches(request.session, request.secret)) return STRANGER;
    for (;;) {
      const before = this.entering.get(request.session);
      if (before === undefined) break;
      await before;
    }
    const refusal = this.lease.refusal();
    if (refusal !== null) return refusal;
    const verdict = this.member.ledger.numberVerdict(request.session, request.n);
    if (verdict === "released") return RELEASED;
    const known = this.member.ledger.sessions.get(request.session);
    if (known !== undefined) return this.repeated(known, request, verdict === "newer");
    const work = this.checkoutNew(request);
    this.entering.set(request.session, work);
    try {
      return await work;
    } finally {
      if (this.entering.get(request.session) === work) this.entering.delete(request.session);
    }
  }

  /** The same session again: renewed and answered, never a second seat. */
  private repeated(
    known: Session,
    request: CheckoutRequest,
    newer: boolean,
  ): Answer | Promise<Answer> {
    if (known.state === "revoked") return this.view.revokedRefusal(known.session);
    if (known.feature !== request.feature || known.seats !== (request.seats ?? 1)) return MISMATCH;
    if (known.state !== "active") return MOVING;
    const terms = this.termsRefusal(request.feature, request.version);
    if (terms !== null) return terms;
    if (this.member.ledger.accountOf(known).epoch !== this.lease.epoch) {
      return this.heartbeatOfOlder(known, request);
    }
    if (newer) this.renew(known, request.n);
    return this.granted(known, false, true);
  }

  private async checkoutNew(request: CheckoutRequest): Promise<Answer> {
    const { feature } = request;
    const seats = request.seats ?? 1;
    const terms = this.termsRefusal(feature, request.version);
    if (terms !== null) return this.denied(request, terms);
    const licensed = this.member.feature(feature);
    if (licensed !== null && seats > seatsOf(licensed)) {
      const words = `the license has ${seatsOf(licensed)} seats of ${feature}, ${seats} can never be had`;
      return this.denied(request, refuse("no-seats", words));
    }
    const sentMs = this.member.nowMs();
    const answerMs = Math.min(QUEUE_ANSWER_MS, this.seats.lifeMs(feature) / 6);
    const waitMs = Math.min(request.waitMs ?? 0, answerMs);
    let session: Session | null = null;
    // Nobody overtakes those who wait already: then the leader decides whose turn it is.
    const inTurn = !this.wants.pending(feature) && !this.seats.isContended(feature);
    if (inTurn && this.seats.growthRefusal(feature) === null) session = this.enter(request, seats);
    for (let tries = 0; session === null;) {
      const refusal = await this.wants.ask(feature, {
        session: request.session,
        seats,
        waitMs: request.waitMs ?? 0,
        ticket: this.tickets.get(request.session) ?? null,
        holder: request.holder,
      });
      this.keepTicket(request.session, refusal);
      const mandate = this.lease.refusal();
      if (mandate !== null) return mandate;
      if (this.member.ledger.numberVerdict(request.session, request.n) === "released") {
        return RELEASED;
      }
      // A newer license may have come while the leader was asked.
      const growth = this.seats.growthRefusal(feature);
      if (refusal === null && growth !== null) return this.denied(request, growth);
      if (refusal === null) {
        tries += 1;
        session = this.enter(request, seats);
        if (session === null && tries === SEAT_TRIES_MAX) {
          return refuse("busy", "others were faster; try again", { retryAfterMs: 200 });
        }
        continue;
      }
      const leftMs = sentMs + waitMs - this.member.nowMs();
      if (refusal.refused !== "queued" || leftMs <= 0) return this.denied(request, refusal);
      await this.member.pause(Math.min(QUEUE_POLL_MS, leftMs));
    }
    this.tickets.delete(request.session);
    const refusal = await this.seats.settleGrant(session);
    if (refusal !== null) return refusal;
    this.member.emit("granted", {
      session: session.session,
      feature,
      seats,
      member: this.member.id,
    });
    return this.granted(session, true, true);
  }

  /**
   * The ticket survives a change of leader and a leader that does not answer for a while: the order of those
   * who wait is not lost with it.
   */
  private keepTicket(session: string, refusal: Refusal | null): void {
    if (refusal === null || refusal.refused === "busy") return;
    this.tickets.delete(session);
    if (refusal.ticket === undefined) return;
    this.tickets.set(session, refusal.ticket);
    if (this.tickets.size <= QUEUE_PLACES_MAX) return;
    const oldest = this.tickets.keys().next();
    if (!oldest.done) this.tickets.delete(oldest.value);
  }

  private enter(request: CheckoutRequest, seats: number): Session | null {
    const { feature } = request;
    const known = this.member.ledger.sessions.get(request.session);
    if (known !== undefined) return null;
    return this.seats.enter({
      session: request.session,
      n: request.n ?? -1,
      feature,
      version: request.version ?? null,
      seats,
      holder: request.holder,
      lifeMs: this.seats.lifeMs(feature),
      grantedAtMs: this.member.ports.runtime.clocks().wallMs,
      convertedFrom: null,
      holdMs: 0,
    });
  }

  /** Journals a denial; a wait in the queue or a busy server is none. */
  private denied(request: CheckoutRequest, refusal: Refusal): Refusal {
    if (refusal.refused === "queued" || refusal.refused === "busy") return refusal;
    this.seats.deny(request.feature);
    this.seats.note([
      {
        kind: "denied",
        session: request.session,
        feature: request.feature,
        seats: request.seats ?? 1,
        holder: request.holder,
        code: refusal.refused,
        atMs: this.member.ports.runtime.clocks().wallMs,
      },
    ]);
    this.member.emit("denied", { feature: request.feature, code: refusal.refused });
    return refusal;
  }

  private termsRefusal(name: string, version: string | undefined): Refusal | null {
    const feature = this.member.feature(name);
    if (feature === null) {
      const names = this.member.license?.license.features.map((each) => each.name) ?? [];
      const known = names.slice(0, 5).join(", ");
      return refuse("unknown-feature", `the license has no feature "${name}"; it has: ${known}`);
    }
    const { wallMs } = this.member.ports.runtime.clocks();
    const verdict = termsVerdict(feature, version, wallMs);
    if (verdict === "covered") return null;
    const details = {
      "version-not-covered": `the license covers ${name} up to version ${feature.version}`,
      "feature-expired": `the license for ${name} expired at ${feature.expires ?? ""}`,
      "not-started": `the license for ${name} starts at ${feature.starts ?? ""}`,
    };
    return refuse(verdict, details[verdict]);
  }

  // ---- heartbeat ------------------------------------------------------------------------------------

  /** The hot path: a session of the present epoch is renewed without waiting for anything. */
  heartbeat(request: HeartbeatRequest): Answer | Promise<Answer> {
    if (!this.member.ports.tokens.sessionMatches(request.session, request.secret)) return STRANGER;
    const refusal = this.lease.refusal();
    if (refusal !== null) return refusal;
    const { ledger } = this.member;
    const known = ledger.sessions.get(request.session);
    if (known === undefined) return this.heartbeatOfUnknown(request);
    if (known.state === "revoked") return this.view.revokedRefusal(known.session);
    if (known.state !== "active") return MOVING;
    if (request.feature !== undefined && request.feature !== known.feature) return MISMATCH;
    if (request.seats !== undefined && request.seats !== known.seats) return MISMATCH;
    if (ledger.accountOf(known).epoch !== this.lease.epoch) {
      return this.heartbeatOfOlder(known, request);
    }
    const expiry = this.expiryRefusal(known);
    if (expiry !== null) return expiry;
    const newer = request.n === undefined || request.n > known.n;
    if (newer) this.renew(known, request.n);
    return this.granted(known, false, request.token !== undefined);
  }

  private renew(session: Session, n: number | undefined): void {
    const lifeMs = this.seats.lifeMs(session.feature);
    this.member.ledger.renew(session, n, lifeMs, this.member.nowMs());
  }

  /** A session in use ends with its feature's term; a feature gone from the license is being wound down. */
  private expiryRefusal(session: Session): Refusal | null {
    const feature = this.member.feature(session.feature);
    if (feature?.expires === undefined) return null;
    const { wallMs } = this.member.ports.runtime.clocks();
    return termsVerdict(feature, undefined, wallMs) === "feature-expired"
      ? this.termsRefusal(session.feature, undefined)
      : null;
  }

  /** Who is told to come back later, and they may be many, is told at once. */
  private heartbeatOfUnknown(request: HeartbeatRequest): Answer | Promise<Answer> {
    if (this.member.ledger.numberVerdict(request.session, request.n) === "released") {
      return RELEASED;
    }
    const before = this.entering.get(request.session);
    if (before !== undefined) return before.then(() => this.heartbeat(request));
    const tooMany =
      request.token === undefined ? null : this.conversions.tooMany(request, this.converting);
    return tooMany ?? this.enterUnknown(request);
  }

  private async enterUnknown(request: HeartbeatRequest): Promise<Answer> {
    const work = this.convertUnknown(request);
    this.entering.set(request.session, work);
    try {
      return await work;
    } finally {
      if (this.entering.get(request.session) === work) this.entering.delete(request.session);
    }
  }

  private async convertUnknown(request: HeartbeatRequest): Promise<Answer> {
    if (request.token === undefined) return this.asNewRequest(request);
    this.converting += 1;
    try {
      return await this.convertByToken(request, request.token);
    } finally {
      this.converting -= 1;
      // A session comes twice when it is to confirm, and takes one turn.
      if (request.confirm === undefined) this.conversions.answered();
    }
  }

  private async convertByToken(request: HeartbeatRequest, token: string): Promise<Answer> {
    const claims = await this.member.ports.tokens.readSoon(token, this.keyOf);
    // It took a moment: the mandate may be over, and the session released.
    const refusal = this.lease.refusal();
    if (refusal !== null) return refusal;
    if (this.member.ledger.numberVerdict(request.session, request.n) === "released") {
      return RELEASED;
    }
    if (claims?.session !== request.session) return FOREIGN_TOKEN;
    if (request.feature !== undefined && request.feature !== claims.feature) return MISMATCH;
    if (request.seats !== undefined && request.seats !== claims.seats) return MISMATCH;
    const record = this.member.memberRecord(claims.member);
    if (record === null || claims.epoch > record.epoch) {
      return refuse("busy", "the token is newer than what this server knows; try again", {
        retryAfterMs: 300,
      });
    }
    // This server ended the session itself: what comes now is a new request.
    if (claims.member === this.member.id && claims.epoch === this.lease.epoch) {
      return this.asNewRequest({ feature: claims.feature, seats: claims.seats, ...request });
    }
    return this.convert(
      {
        session: request.session,
        n: request.n,
        feature: claims.feature,
        version: claims.version,
        seats: claims.seats,
        holder: request.holder ?? UNKNOWN_HOLDER,
        confirm: request.confirm,
        member: claims.member,
        epoch: claims.epoch,
      },
      null,
    );
  }

  private readonly keyOf = (id: string): string | null => this.member.memberRecord(id)?.key ?? null;

  /** What a token says, if a server of this pool issued it for this session. */
  private readToken(token: string | undefined, session: string): TokenClaims | null {
    if (token === undefined) return null;
    const claims = this.member.ports.tokens.read(token, this.keyOf);
    return claims?.session === session ? claims : null;
  }

  /** A session that this member granted in an epoch that is over. */
  private async heartbeatOfOlder(
    known: Session,
    request: HeartbeatRequest | CheckoutRequest,
  ): Promise<Answer> {
    if (request.n !== undefined && request.n <= known.n) return MOVING;
    // The token says where the client holds its seat now: another server may have converted it since.
    const claims = "token" in request ? this.readToken(request.token, known.session) : null;
    return this.convert(
      {
        session: known.session,
        n: request.n,
        feature: known.feature,
        version: known.version,
        seats: known.seats,
        holder: known.holder,
        confirm: "confirm" in request ? request.confirm : undefined,
        member: claims?.member ?? this.member.id,
        epoch: claims?.epoch ?? this.member.ledger.accountOf(known).epoch,
      },
      known,
    );
  }

  private async convert(
    conversion: Parameters<Conversions["convert"]>[0],
    known: Session | null,
  ): Promise<Answer> {
    const converted = await this.conversions.convert(conversion, known);
    if ("refused" in converted) return converted;
    return { ...this.granted(converted, true, true), converted: true };
  }

  /** Without a token a heartbeat for an unknown session is a request like any other. */
  private async asNewRequest(request: HeartbeatRequest): Promise<Answer> {
    if (request.feature === undefined) {
      return refuse(
        "bad-request",
        "this server does not know the session; send its token, or feature and holder to ask anew",
      );
    }
    const answer = await this.checkoutNew({
      session: request.session,
      secret: request.secret,
      feature: request.feature,
      holder: request.holder ?? UNKNOWN_HOLDER,
      ...(request.n === undefined ? {} : { n: request.n }),
      ...(request.version === undefined ? {} : { version: request.version }),
      ...(request.seats === undefined ? {} : { seats: request.seats }),
      ...(request.waitMs === undefined ? {} : { waitMs: request.waitMs }),
    });
    return "refused" in answer ? answer : { ...answer, converted: true };
  }

  // ---- answers --------------------------------------------------------------------------------------

  private granted(session: Session, created: boolean, withToken: boolean): Granted {
    const answer = {
      session: session.session,
      feature: session.feature,
      seats: session.seats,
      member: this.member.id,
      lifeMs: session.lifeMs,
      heartbeatMs: heartbeatMs(session.lifeMs),
      pool: { leader: this.leaderUrl(), servers: this.serverUrls() },
      created,
    };
    if (!withToken && session.tokenEpoch === this.lease.epoch) return answer;
    session.tokenEpoch = this.lease.epoch;
    return { ...answer, token: this.token(session) };
  }

  private token(session: Session): string {
    return this.member.ports.tokens.sign({
      pool: this.member.license?.license.pool.name ?? "",
      member: this.member.id,
      epoch: this.lease.epoch,
      session: session.session,
      feature: session.feature,
      version: session.version,
      seats: session.seats,
      lifeMs: session.lifeMs,
      issuedAtMs: this.member.ports.runtime.clocks().wallMs,
      licenseSequence: this.member.license?.license.sequence ?? 0,
    });
  }

  leaderUrl(): string | null {
    const leader = this.lease.leader();
    return leader === null ? null : (this.member.memberRecord(leader.member)?.url ?? null);
  }

  private serverUrls(): readonly string[] {
    this.servers ??= this.member.state
      .withPrefix<MemberRecord>(MEMBER_PREFIX)
      .filter(([, { value }]) => value.state !== "removed")
      .map(([, { value }]) => value.url);
    return this.servers;
  }

  /** The list of servers is built anew after a change of a member's record. */
  forgetServers(key: string): void {
    if (key.startsWith(MEMBER_PREFIX)) this.servers = null;
  }

  // ---- release and revoke ---------------------------------------------------------------------------

  async release(request: ReleaseRequest): Promise<ReleaseAnswer> {
    const { tokens } = this.member.ports;
    const owner = request.secret !== undefined;
    if (owner && !tokens.sessionMatches(request.session, request.secret ?? "")) return STRANGER;
    if (!owner && !request.administrator) return STRANGER;
    if (!owner) return this.revoke(request);
    // What the journal holds is not known before the start is over; after it a release needs no mandate.
    if (this.lease.phase !== "active") return this.lease.refusal() ?? MOVING;
    const here = request.only === undefined || request.only === this.member.id;
    // A session on its way to the leader is released there.
    const held = this.member.ledger.sessions.get(request.session);
    const known = here && held !== undefined && held.state !== "moving";
    if (here) {
      const refusal = await this.releaseHere(
        request.session,
        request.n,
        request.only === undefined,
      );
      if (refusal !== null) return refusal;
    }
    if (known || request.only === this.member.id) return { released: true, reached: true };
    return this.passOn("release", request.session, {
      session: request.session,
      ...(request.n === undefined ? {} : { n: request.n }),
      ...(request.only === undefined ? {} : { only: request.only }),
    });
  }

  /** Ends the session here and remembers the release; resolves after the sync. */
  async releaseHere(
    sessionId: string,
    n: number | undefined,
    bury: boolean,
  ): Promise<Refusal | null> {
    const { ledger } = this.member;
    const session = ledger.sessions.get(sessionId);
    if (session !== undefined && n !== undefined && n < session.n) return null;
    const lifeMs = session?.lifeMs ?? this.longestLifeMs();
    if (bury) this.leader.leave(sessionId);
    // A grant dropped with `only` is not buried: the session lives on at another server.
    if (bury) ledger.bury(sessionId, n, lifeMs, this.member.nowMs());
    if (session === undefined && bury && n !== undefined) return this.journalRelease(sessionId, n);
    if (session === undefined || session.state === "moving") return null;
    const refusal = await this.seats.end(session, bury ? "released" : "superseded", n);
    this.member.emit("released", { session: sessionId, feature: session.feature });
    return refusal;
  }

  /** A late message of a released session is refused after a restart as well, wherever it arrives. */
  private journalRelease(session: string, n: number): Promise<Refusal | null> {
    const atMs = this.member.ports.runtime.clocks().wallMs;
    return this.seats.write([{ kind: "end", session, n, reason: "released", atMs, holdMs: 0 }]);
  }

  private longestLifeMs(): number {
    const lives = this.member.license?.license.features.map((each) => each.lifeMs) ?? [];
    return Math.max(
      ...lives.map((life) => effectiveLifeMs(life, this.member.options.leaseMs)),
      60_000,
    );
  }

  /** Ended by somebody else: refused from its next heartbeat on, free one life after its last renewal. */
  private async revoke(request: ReleaseRequest): Promise<ReleaseAnswer> {
    if (await this.revokeHere(request.session, request.reason ?? "revoked by an administrator")) {
      return { released: true, reached: true };
    }
    return this.passOn("revoke", request.session, {
      session: request.session,
      reason: request.reason ?? "revoked by an administrator",
    });
  }

  async revokeHere(sessionId: string, reason: string): Promise<boolean> {
    // The leader refuses to convert it, even if the member that holds it is dead.
    this.view.revoke(sessionId, reason);
    const session = this.member.ledger.sessions.get(sessionId);
    if (session === undefined) return false;
    // On its way to the leader it must be revoked there as well: then this is not the whole answer.
    const moving = session.state === "moving";
    session.state = "revoked";
    this.seats.onChanged(session);
    await this.seats.write([
      {
        kind: "revoke",
        session: sessionId,
        by: "administrator",
        reason,
        atMs: this.member.ports.runtime.clocks().wallMs,
      },
    ]);
    this.member.emit("revoked", { session: sessionId, feature: session.feature, reason });
    return !moving;
  }

  /** To all others that live: the session may be held by any of them, reports are a second old. */
  private async passOn(
    what: "release" | "revoke",
    session: string,
    body: { session: string; n?: number; only?: string; reason?: string },
  ): Promise<ReleaseAnswer> {
    const leader = this.lease.leader();
    const others = this.member.state
      .withPrefix<MemberRecord>(MEMBER_PREFIX)
      .map(([key, { value }]) => ({ id: key.slice(MEMBER_PREFIX.length), record: value }))
      .filter(({ id, record }) => id !== this.member.id && record.state !== "removed")
      .filter(({ id }) => body.only === undefined || body.only === id);
    const answers = await Promise.all(
      others.map(async ({ id, record }) => {
        if (record.state !== "active") return null;
        return this.member.ports.peers.call(
          record.url,
          id,
          { kind: "pass-on", what, body, epoch: this.lease.epoch, term: leader?.term ?? 0 },
          this.member.timing.callDeadlineMs,
        );
      }),
    );
    const found = answers.some((answer) => answer !== null && answer.ok && answer.body === true);
    const all = answers.every((answer) => answer !== null && answer.ok);
    return { released: true, reached: found || all || (this.view.isRevoked(session) && all) };
  }

  // ---- questions about the pool -----------------------------------------------------------------------

  async authorizations(query: AuthorizationsQuery): Promise<AuthorizationsPage> {
    if (this.lease.leads()) return this.view.page(query, true);
    const answer = await this.askLeader("list", query);
    if (answer !== null) return answer as AuthorizationsPage;
    const own = await this.view.page(query, false);
    return { ...own, missing: this.otherMembers() };
  }

  async features(): Promise<FeaturesAnswer> {
    if (this.lease.leads()) return this.featureRows(this.view.missing());
    const answer = await this.askLeader("features", {});
    if (answer !== null) return answer as FeaturesAnswer;
    return this.featureRows(this.otherMembers());
  }

  private otherMembers(): string[] {
    const ids = this.member.state.get<MembersRecord>(MEMBERS_KEY)?.value.ids ?? [];
    return ids.filter((id) => id !== this.member.id);
  }

  private async askLeader(what: "list" | "features", body: unknown): Promise<unknown> {
    const leader = this.lease.leader();
    const url = leader === null ? undefined : this.member.memberRecord(leader.member)?.url;
    if (leader === null || url === undefined || leader.member === this.member.id) return null;
    const answer = await this.member.ports.peers.call(
      url,
      leader.member,
      { kind: "pass-on", what, body, epoch: this.lease.epoch, term: leader.term },
      2 * this.member.timing.callDeadlineMs,
    );
    return answer !== null && answer.ok ? answer.body : null;
  }

  /** Every feature of the license, from the records and the reports. */
  featureRows(missing: readonly string[]): FeaturesAnswer {
    const features = (this.member.license?.license.features ?? []).map((feature): FeatureRow => {
      const record = this.member.record(feature.name)?.value ?? null;
      const members: Record<string, { seats: number; inUse: number }> = {};
      let inUse = 0;
      let unused = 0;
      let denied = 0;
      for (const id of Object.keys(record?.allocated ?? {}).sort()) {
        const entry = record === null ? null : entryOf(record, id);
        if (entry === null) continue;
        const reported = id === this.member.id ? null : this.view.feature(id, feature.name);
        const used = id === this.member.id ? this.seats.used(feature.name) : (reported?.inUse ?? 0);
        members[id] = { seats: entry.seats, inUse: Math.max(0, used) };
        inUse += Math.max(0, used);
        if (this.lease.isAlive(id)) unused += Math.max(0, entry.seats - used);
        denied +=
          id === this.member.id ? this.seats.deniedCount(feature.name) : (reported?.denied ?? 0);
      }
      const retired = Object.values(record?.retired ?? {}).reduce(
        (sum, each) => sum + each.seats,
        0,
      );
      return {
        name: feature.name,
        version: feature.version,
        seats: feature.seats,
        overdraft: feature.overdraft ?? 0,
        inUse: inUse + (record?.borrowed ?? 0),
        free: (record?.free ?? 0) + unused,
        queued: this.leader.queued(feature.name),
        denied,
        debt: record?.debt ?? 0,
        retired,
        starts: feature.starts ?? null,
        expires: feature.expires ?? null,
        lifeMs: effectiveLifeMs(feature.lifeMs, this.member.options.leaseMs),
        members,
      };
    });
    return { features, missing };
  }

  pool(): PoolAnswer {
    const license = this.member.license?.license ?? null;
    const leader = this.lease.leader();
    const clocks = this.member.ports.runtime.clocks();
    const alive = this.lease.aliveCount(clocks);
    const size = license?.pool.size ?? 0;
    const needed = size === 0 ? 0 : majorityOf(size);
    return {
      pool: license?.pool.name ?? null,
      self: this.member.id,
      size,
      leader: leader === null ? null : { id: leader.member, url: this.leaderUrl() ?? "" },
      term: this.member.leaderRecord()?.value.term ?? 0,
      leaseMs: this.member.options.leaseMs,
      majority: { needed, alive, reached: size > 0 && alive >= needed },
      members: this.member.state
        .withPrefix<MemberRecord>(MEMBER_PREFIX)
        .filter(([, { value }]) => value.state !== "removed")
        .map(([key, { value }]) => {
          const id = key.slice(MEMBER_PREFIX.length);
          const self = id === this.member.id;
          const isAlive = this.lease.isAlive(id);
          return {
            id,
            url: value.url,
            alive: isAlive,
            mandate: self ? this.lease.hasMandate() : isAlive && alive >= needed,
            state: value.state,
            epoch: value.epoch,
            priority: value.priority,
            licenseSequence: value.licenseSequence,
            leaseAgeMs: this.lease.leaseAgeMs(id),
            sessions: self ? this.member.ledger.sessions.size : this.view.sessionCount(id),
          };
        }),
      store: {
        name: this.member.ports.store.name,
        id: this.guard.id,
        state: this.lease.suspended ? "suspended" : "ok",
      },
      alarms: this.member.alarms(),
    };
  }

  // ---- administration ---------------------------------------------------------------------------------

  /** Moves the leadership to a live member. */
  async lead(id: string): Promise<PoolAnswer | Refusal> {
    const refusal = this.lease.refusal();
    if (refusal !== null) return refusal;
    const epoch = this.lease.liveEpoch(id);
    if (epoch === null) {
      return refuse("bad-request", `${id} is not a live server of this pool; see: quorate status`);
    }
    const written = await this.member.state.change<{
      member: string;
      epoch: number;
      term: number;
      nonces: Record<string, string>;
    }>(LEADER_KEY, (current) =>
      current?.member === id && current.epoch === epoch
        ? "it leads already"
        : {
            value: {
              member: id,
              epoch,
              term: (current?.term ?? 0) + 1,
              nonces: current?.nonces ?? {},
            } as never,
          },
    );
    if (!written.applied && written.reason !== "it leads already") {
      return refuse("busy", written.reason);
    }
    return this.pool();
  }

  /** Retires a member for good and makes room for another; its record stays. */
  async remove(id: string): Promise<PoolAnswer | Refusal> {
    const refusal = this.lease.refusal();
    if (refusal !== null) return refusal;
    const record = this.member.state.get<MemberRecord>(memberKeyOf(id));
    if (record === null || record.value.state === "removed") {
      return refuse("bad-request", `the pool has no server "${id}"; see: quorate status`);
    }
    if (id === this.member.id) {
      return refuse("bad-request", `${id} cannot remove itself; ask another server of the pool`);
    }
    if (!(await this.waitForEnd(id))) {
      return refuse("bad-request", `${id} is alive; stop it first, then remove it`);
    }
    const written = await this.member.state.change<MemberRecord>(memberKeyOf(id), (current) => {
      if (current === null || current.state === "removed") return "it is removed already";
      if (current.state === "active") return `${id} has started again`;
      const members = this.member.state.get<MembersRecord>(MEMBERS_KEY);
      const ids = (members?.value.ids ?? []).filter((each) => each !== id);
      return {
        value: { ...current, epoch: current.epoch + 1, state: "removed" } as MemberRecord,
        compare: [{ key: MEMBERS_KEY, revision: members?.revision ?? 0 }],
        puts: [
          {
            key: MEMBERS_KEY,
            value: JSON.stringify({ ids, nonces: members?.value.nonces ?? {} }),
          },
        ],
      };
    });
    if (!written.applied && written.reason !== "it is removed already") {
      return refuse("busy", written.reason);
    }
    this.member.emit("member-removed", { member: id });
    return this.pool();
  }

  /** A silent member is retired first: only that wait proves that its mandate is over. */
  private async waitForEnd(id: string): Promise<boolean> {
    const { retireAfterMs, renewEveryMs } = this.member.timing;
    const untilMs = this.member.nowMs() + retireAfterMs + 2 * renewEveryMs;
    while (this.member.memberRecord(id)?.state === "active") {
      if (this.member.nowMs() > untilMs) return false;
      await this.member.pause(renewEveryMs / 4);
    }
    return true;
  }

  async rebuild(): Promise<PoolAnswer | Refusal> {
    const problem = await this.guard.rebuild(this.licenses);
    return problem === null ? this.pool() : refuse("busy", problem);
  }

  /** Kept here so that peers ask the same license keeper. */
  install(text: string): ReturnType<LicenseKeeper["install"]> {
    return this.licenses.install(text);
  }
}

const STRANGER = refuse("not-your-session", "the secret is not this session's");
const FOREIGN_TOKEN = refuse(
  "not-your-session",
  "the token was not issued by a server of this pool for this session",
);
const RELEASED = refuse("released", "the session was released; make a new one");
const MISMATCH = refuse(
  "session-mismatch",
  "the session is in use for another feature or number of seats; make a new session",
);
const MOVING = refuse("busy", "the session is being moved; try again", { retryAfterMs: 100 });
