/**
 * Who is logged in with a browser: sessions in the memory of this member, named by a cookie that scripts cannot
 * read. A session ends by itself (idle, or old), with its token, and by logging out.
 *
 *   POST /v1/login --> begun --> found at each call --> ended
 *                                   |  idle, old, token revoked or expired --^
 *
 * A cookie that this member did not make opens nothing and is never taken over: each login makes a new one.
 */
import { hash, randomBytes, timingSafeEqual } from "node:crypto";
import { CSRF_HEADER } from "@quorate/protocol";
import type { Caller } from "./access.ts";
import { cookieIn, cookieText, isEncrypted } from "./cookies.ts";
import { countOfHeader, rawHeader, type RequestHead } from "./raw-header.ts";

/** Whose login it is, and what it hangs on. */
export interface LoginHolder extends Caller {
  /** What the logins of one holder are counted by: a token's id, a person at an issuer. */
  readonly source: string;
  /** When the proof behind it ends; null: not by itself. */
  readonly endsAtMs: number | null;
  /** Asked at each call: false once the token was revoked. */
  readonly isGood: () => boolean;
}

export interface Login extends Caller {
  /** What each changing call must repeat in a header. */
  readonly csrf: string;
  readonly endsAtMs: number;
  /** Its holder's. */
  readonly source: string;
}

export interface Logins {
  /** Ends the login that the browser had here, if any. */
  begin(request: RequestHead, holder: LoginHolder): { login: Login; cookie: string };
  /** Null: the request bears no cookie of a login that is still good. Counts as use. */
  of(request: RequestHead): Login | null;
  /** Whether the request bears a cookie of the name, good or not. */
  isClaimed(request: RequestHead): boolean;
  /** The cookie that takes away the browser's, and the login that it was, if it was one. */
  end(request: RequestHead): { login: Login | null; cookie: string };
  /** Calls back once the login of this request is over; what it gives back takes the listener off. */
  onEnd(request: RequestHead, listener: () => void): () => void;
  close(): void;
}

interface Kept extends Login {
  readonly holder: LoginHolder;
  readonly begun: Moment;
  used: Moment;
  readonly listeners: Set<() => void>;
}

/** By both clocks: one that is set back must not prolong a login, and one that stands still while asleep neither. */
interface Moment {
  readonly wallMs: number;
  readonly upMs: number;
}

const LOGINS_MAX = 1_000;
const LOGINS_OF_ONE_MAX = 20;
export const LOGIN_IDLE_MS = 30 * 60_000;
/** However much it is used: a page that is left open asks all the time. */
export const LOGIN_MS_MAX = 12 * 3_600_000;
/** How soon an open stream notices that its login is over. */
const SWEEP_MS = 1_000;
const SECRET_BYTES = 32;

export function createLogins(
  nowMs: () => number = () => Date.now(),
  upMs: () => number = () => performance.now(),
): Logins {
  /** By the hash of the cookie, so that how long a look-up takes says nothing about the cookies that are there. */
  const kept = new Map<string, Kept>();

  const drop = (key: string): void => {
    const found = kept.get(key);
    kept.delete(key);
    for (const listener of found?.listeners ?? []) listener();
  };
  const moment = (): Moment => ({ wallMs: nowMs(), upMs: upMs() });
  const isOver = ({ begun, used, endsAtMs, holder }: Kept): boolean => {
    const now = moment();
    return (
      now.wallMs >= endsAtMs ||
      between(begun, now) >= LOGIN_MS_MAX ||
      between(used, now) >= LOGIN_IDLE_MS ||
      !holder.isGood()
    );
  };
  const find = (request: RequestHead): { key: string; found: Kept } | null => {
    const cookie = cookieIn(request, nameFor(request));
    if (cookie === null) return null;
    const key = hash("sha256", cookie);
    const found = kept.get(key);
    if (found === undefined) return null;
    if (!isOver(found)) return { key, found };
    drop(key);
    return null;
  };
  const makeRoom = (source: string): void => {
    let own = 0;
    let oldest: string | null = null;
    let oldestOwn: string | null = null;
    for (const [key, each] of kept) {
      if (isOver(each)) {
        drop(key);
        continue;
      }
      oldest ??= key;
      if (each.holder.source !== source) continue;
      oldestOwn ??= key;
      own += 1;
    }
    if (oldestOwn !== null && own >= LOGINS_OF_ONE_MAX) drop(oldestOwn);
    else if (oldest !== null && kept.size >= LOGINS_MAX) drop(oldest);
  };
  const end = (request: RequestHead): { login: Login | null; cookie: string } => {
    const known = find(request);
    if (known !== null) drop(known.key);
    const cookie = cookieText(nameFor(request), "", 0, isEncrypted(request));
    return { login: known?.found ?? null, cookie };
  };
  const sweep = setInterval(() => {
    for (const [key, each] of kept) if (isOver(each)) drop(key);
  }, SWEEP_MS);
  sweep.unref();

  return {
    begin: (request, holder) => {
      end(request);
      makeRoom(holder.source);
      const secret = randomBytes(SECRET_BYTES).toString("base64url");
      const begun = moment();
      const at = begun.wallMs;
      const login: Kept = {
        name: holder.name,
        role: holder.role,
        ...(holder.subject === undefined ? {} : { subject: holder.subject }),
        csrf: randomBytes(SECRET_BYTES).toString("base64url"),
        endsAtMs: Math.min(at + LOGIN_MS_MAX, holder.endsAtMs ?? Infinity),
        source: holder.source,
        holder,
        begun,
        used: begun,
        listeners: new Set(),
      };
      kept.set(hash("sha256", secret), login);
      const seconds = Math.max(1, Math.floor((login.endsAtMs - at) / 1_000));
      return { login, cookie: cookieText(nameFor(request), secret, seconds, isEncrypted(request)) };
    },
    of: (request) => {
      const known = find(request);
      if (known === null) return null;
      known.found.used = moment();
      return known.found;
    },
    isClaimed: (request) => cookieIn(request, nameFor(request)) !== null,
    end,
    onEnd: (request, listener) => {
      const listeners = find(request)?.found.listeners;
      listeners?.add(listener);
      return () => listeners?.delete(listener);
    },
    close: () => clearInterval(sweep),
  };
}

function between(before: Moment, now: Moment): number {
  return Math.max(now.wallMs - before.wallMs, now.upMs - before.upMs);
}

/** Whether the request repeats what only a page of this pool could read. */
export function bearsCsrf(request: RequestHead, { csrf }: Login): boolean {
  const given = rawHeader(request, CSRF_HEADER);
  if (given === undefined || countOfHeader(request, CSRF_HEADER) !== 1) return false;
  // Hashes have one length, as a comparison in constant time needs.
  return timingSafeEqual(hash("sha256", given, "buffer"), hash("sha256", csrf, "buffer"));
}

/**
 * Cookies know no ports: servers of one machine would take each other's place under one name. Over TLS the prefix
 * makes browsers refuse one that another host, or a page without TLS, wants to set.
 */
function nameFor(request: RequestHead): string {
  const { localPort } = request.socket;
  return `${isEncrypted(request) ? "__Host-" : ""}quorate_login_${localPort ?? 0}`;
}
