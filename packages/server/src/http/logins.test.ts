import type { IncomingMessage } from "node:http";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { bearsCsrf, createLogins, LOGIN_IDLE_MS, LOGIN_MS_MAX } from "./logins.ts";
import type { LoginHolder, Logins } from "./logins.ts";

let nowMs = 0;
let upMs = 0;
let logins: Logins;
beforeEach(() => {
  nowMs = 1_000_000;
  upMs = 0;
  logins = createLogins(
    () => nowMs,
    () => upMs,
  );
});
afterEach(() => logins.close());

interface Words {
  readonly cookie?: string;
  readonly csrf?: string;
  readonly encrypted?: boolean;
  readonly localPort?: number;
}

/** As much of a request as a login looks at. */
function request({
  cookie,
  csrf,
  encrypted = false,
  localPort = 7350,
}: Words = {}): IncomingMessage {
  const rawHeaders = [
    ...(cookie === undefined ? [] : ["Cookie", cookie]),
    ...(csrf === undefined ? [] : ["Quorate-CSRF", csrf]),
  ];
  return { rawHeaders, socket: { localPort, ...(encrypted ? { encrypted } : {}) } } as never;
}

function holder(more: Partial<LoginHolder> = {}): LoginHolder {
  const known = { name: "ana", role: "viewer", source: "token 1", endsAtMs: null } as const;
  return { ...known, isGood: () => true, ...more };
}

function begin(who = holder(), words: Words = {}): { sent: string; cookie: string; csrf: string } {
  const { login, cookie } = logins.begin(request(words), who);
  return { sent: cookie.split(";", 1)[0] ?? "", cookie, csrf: login.csrf };
}

describe("a login", () => {
  it("is found by its cookie, among others, and by no other", () => {
    const { sent } = begin();
    expect(logins.of(request({ cookie: `a=b; ${sent}; c="d"` }))).toMatchObject({ name: "ana" });
    for (const cookie of ["", "x", `x${sent}`, `${sent}A`, sent.slice(0, -1), sent.toUpperCase()]) {
      expect(logins.of(request({ cookie }))).toBeNull();
    }
    expect(logins.of(request())).toBeNull();
  });

  it("has a cookie that no script and no other site can use", () => {
    const { cookie } = begin();
    expect(cookie).toMatch(
      /^quorate_login_7350=[A-Za-z0-9_-]{43}; HttpOnly; SameSite=Strict; Path=\/; Max-Age=43200$/,
    );
    expect(begin(holder(), { encrypted: true }).cookie).toMatch(
      /^__Host-quorate_login_7350=[A-Za-z0-9_-]{43}; HttpOnly; .*Path=\/; .*; Secure$/,
    );
  });

  it("of one server is none of the other on the same machine, and none over TLS", () => {
    const { sent } = begin();
    expect(logins.of(request({ cookie: sent, localPort: 7351 }))).toBeNull();
    expect(logins.of(request({ cookie: sent, encrypted: true }))).toBeNull();
  });

  it("is none when somebody put a second cookie of the name beside it", () => {
    const { sent } = begin();
    const planted = `quorate_login_7350=${"A".repeat(43)}`;
    for (const cookie of [`${planted}; ${sent}`, `${sent}; ${planted}`, `${sent}; ${sent}`]) {
      expect(logins.of(request({ cookie }))).toBeNull();
    }
  });

  it("never takes over a cookie that the browser had before, and ends the login it stood for", () => {
    const planted = `quorate_login_7350=${"A".repeat(43)}`;
    const first = begin(holder(), { cookie: planted });
    expect(first.sent).not.toBe(planted);
    expect(logins.of(request({ cookie: planted }))).toBeNull();
    const second = begin(holder(), { cookie: first.sent });
    expect(logins.of(request({ cookie: first.sent }))).toBeNull();
    expect(logins.of(request({ cookie: second.sent }))).not.toBeNull();
  });

  it("ends when nobody used it for a while, and not while somebody does", () => {
    const { sent } = begin();
    for (let each = 0; each < 3; each += 1) {
      nowMs += LOGIN_IDLE_MS - 1;
      expect(logins.of(request({ cookie: sent }))).not.toBeNull();
    }
    nowMs += LOGIN_IDLE_MS;
    expect(logins.of(request({ cookie: sent }))).toBeNull();
  });

  it("ends at its time however much it is used, and before with its token", () => {
    const { sent } = begin();
    const short = begin(holder({ endsAtMs: nowMs + LOGIN_IDLE_MS }));
    for (let passedMs = 0; passedMs < LOGIN_MS_MAX; passedMs += LOGIN_IDLE_MS / 2) {
      expect(logins.of(request({ cookie: sent }))).not.toBeNull();
      expect(logins.of(request({ cookie: short.sent })) === null).toBe(passedMs >= LOGIN_IDLE_MS);
      nowMs += LOGIN_IDLE_MS / 2;
    }
    expect(logins.of(request({ cookie: sent }))).toBeNull();
  });

  it("ends no later when the clock is set back, whether it is used or not", () => {
    const idle = begin();
    const used = begin();
    for (let passedMs = 0; passedMs < LOGIN_MS_MAX; passedMs += LOGIN_IDLE_MS / 2) {
      expect(logins.of(request({ cookie: used.sent }))).not.toBeNull();
      nowMs -= 1_000;
      upMs += LOGIN_IDLE_MS / 2;
    }
    expect(logins.of(request({ cookie: idle.sent }))).toBeNull();
    expect(logins.of(request({ cookie: used.sent }))).toBeNull();
  });

  it("ends when its token is revoked, and says so to who reads a stream", () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    logins = createLogins(() => nowMs);
    let good = true;
    const { sent } = begin(holder({ isGood: () => good }));
    const told = vi.fn<() => void>();
    const leave = vi.fn<() => void>();
    logins.onEnd(request({ cookie: sent }), told);
    logins.onEnd(request({ cookie: sent }), leave)();
    vi.advanceTimersByTime(5_000);
    expect(told).not.toHaveBeenCalled();
    good = false;
    vi.advanceTimersByTime(1_000);
    expect(told).toHaveBeenCalledOnce();
    expect(leave).not.toHaveBeenCalled();
    expect(logins.of(request({ cookie: sent }))).toBeNull();
    vi.useRealTimers();
  });

  it("is one of few for each token: the oldest makes room, and nobody else's", () => {
    const others = begin(holder({ source: "token 2" }));
    const own = Array.from({ length: 21 }, () => begin());
    const alive = own.map(({ sent }) => logins.of(request({ cookie: sent })) !== null);
    expect(alive).toEqual([false, ...Array.from({ length: 20 }, () => true)]);
    expect(logins.of(request({ cookie: others.sent }))).not.toBeNull();
  });

  it("is one of a thousand", () => {
    const all = Array.from({ length: 1_001 }, (_, each) => begin(holder({ source: `${each}` })));
    const alive = all.filter(({ sent }) => logins.of(request({ cookie: sent })) !== null);
    expect(alive).toHaveLength(1_000);
  });
});

describe("the mark against forged calls", () => {
  it("is this login's, whole, and once", () => {
    const { sent, csrf } = begin();
    const other = begin();
    const bears = (given: string | undefined): boolean => {
      const asked = request({ cookie: sent, ...(given === undefined ? {} : { csrf: given }) });
      const login = logins.of(asked);
      return login !== null && bearsCsrf(asked, login);
    };
    expect(bears(csrf)).toBe(true);
    for (const wrong of [undefined, "", other.csrf, csrf.slice(1), `${csrf}A`, `${csrf}, x`]) {
      expect(bears(wrong)).toBe(false);
    }
    const twice = request({ cookie: sent, csrf });
    twice.rawHeaders.push("quorate-csrf", csrf);
    const login = logins.of(twice);
    expect(login !== null && bearsCsrf(twice, login)).toBe(false);
  });
});
