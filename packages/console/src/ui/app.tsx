import { useEffect, useRef, useState } from "preact/hooks";
import type { Link, Live } from "../live/live.ts";
import { durationWords } from "../model/time-words.ts";
import { AuditPage } from "./audit-page.tsx";
import { FeaturesPage } from "./features-page.tsx";
import {
  type Page,
  PAGES,
  useIsAdministrator,
  useLive,
  useMe,
  useNowMs,
  useRoute,
} from "./hooks.ts";
import { LicensePage } from "./license-page.tsx";
import { LoginDialog, LoginPage, LoginRefused } from "./login-form.tsx";
import { PoolPage } from "./pool-page.tsx";
import { SessionsPage } from "./sessions-page.tsx";

const TITLES: Readonly<Record<Page, string>> = {
  pool: "Pool",
  features: "Features",
  sessions: "Sessions",
  license: "License",
  audit: "Audit",
};

export interface AppProps {
  readonly live: Live;
  /** Why a login at the issuer failed, of which this page is the end; null: it is not. */
  readonly loginRefused: string | null;
}

export function App({ live, loginRefused }: AppProps) {
  const snapshot = useLive(live);
  const { page, query } = useRoute();
  const [asksLogin, setAsksLogin] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const may = useIsAdministrator(live.calls);
  const name = snapshot.pool?.pool ?? null;
  const { link } = snapshot;
  const isClosed = link.state === "closed";
  useEffect(() => {
    document.title = `${isClosed ? "Log in" : TITLES[page]} · ${name ?? "Quorate"}`;
  }, [page, name, isClosed]);
  const isFirst = useRef(true);
  useEffect(() => {
    // A reader who follows a link, logs in or out hears the new page; the first page takes nobody's focus.
    if (!isFirst.current) heading.current?.focus();
    isFirst.current = false;
  }, [page, isClosed]);

  return (
    <>
      <header class="top">
        <a
          class="skip"
          href={`#/${page}`}
          onClick={(event) => {
            event.preventDefault();
            heading.current?.focus();
          }}
        >
          Skip to the content
        </a>
        <div class="brand">
          <Mark />
          <span class="word">Quorate</span>
          {name !== null && <span class="pool-name">{name}</span>}
        </div>
        <nav aria-label="Pages">
          {PAGES.filter((each) => each !== "audit" || may || page === "audit").map((each) => (
            <a key={each} href={`#/${each}`} {...(each === page ? { "aria-current": "page" } : {})}>
              {TITLES[each]}
            </a>
          ))}
        </nav>
        <div class="status">
          <LinkWords link={link} />
          <WhoAmI live={live} isClosed={isClosed} onLogIn={() => setAsksLogin(true)} />
        </div>
      </header>
      {link.state === "lost" && <Lost link={link} />}
      {loginRefused !== null && <LoginRefused code={loginRefused} />}
      <main>
        <h1 ref={heading} tabIndex={-1} class="page-title">
          {isClosed ? "Log in" : TITLES[page]}
        </h1>
        {isClosed ? (
          <LoginPage live={live} lost={link.member} />
        ) : (
          <Shown live={live} page={page} query={query} />
        )}
      </main>
      {asksLogin && <LoginDialog live={live} onClose={() => setAsksLogin(false)} />}
    </>
  );
}

interface ShownProps {
  readonly live: Live;
  readonly page: Page;
  readonly query: URLSearchParams;
}

function Shown({ live, page, query }: ShownProps) {
  const { snapshot, calls } = live;
  switch (page) {
    case "pool":
      return <PoolPage snapshot={snapshot} />;
    case "features":
      return <FeaturesPage calls={calls} snapshot={snapshot} chosen={query.get("name")} />;
    case "sessions":
      return <SessionsPage live={live} snapshot={snapshot} query={query} />;
    case "license":
      return <LicensePage live={live} snapshot={snapshot} />;
    case "audit":
      return <AuditPage live={live} />;
  }
}

const LINK_WORDS: Readonly<Record<Link["state"], string>> = {
  connecting: "connecting",
  live: "live",
  polling: "polling",
  closed: "not logged in",
  lost: "no answer",
};

function LinkWords({ link }: { readonly link: Link }) {
  const isNamed = link.member !== null && link.state !== "closed";
  return (
    <span class={`link ${link.state}`} role="status">
      <span class="dot" aria-hidden="true" />
      <span class="how">{LINK_WORDS[link.state]}</span>
      {isNamed && <span class="from"> from {link.member}</span>}
    </span>
  );
}

interface WhoAmIProps {
  readonly live: Live;
  readonly isClosed: boolean;
  readonly onLogIn: () => void;
}

function WhoAmI({ live, isClosed, onLogIn }: WhoAmIProps) {
  const me = useMe(live.calls);
  if (me === null) {
    // The form is on the page itself.
    if (isClosed) return null;
    return (
      <button
        type="button"
        class="button key"
        title="Changes need an administrator’s login"
        onClick={onLogIn}
      >
        Log in
      </button>
    );
  }
  const logOut = async (): Promise<void> => {
    await live.calls.logOut();
    await live.refresh();
  };
  return (
    <span class="me">
      <span class="name" title={`${me.name}, ${me.role}`}>
        {me.name} <small>{me.role}</small>
      </span>
      <button type="button" class="button key" onClick={() => void logOut()}>
        Log out
      </button>
    </span>
  );
}

function Lost({ link }: { readonly link: Link }) {
  const nowMs = useNowMs();
  const since =
    link.answeredAtMs === null
      ? "None has answered yet."
      : `What you see is ${durationWords(nowMs - link.answeredAtMs)} old.`;
  return (
    <p class="banner bad" role="alert">
      No server of the pool answers this page. {since} It goes on asking all of them.
    </p>
  );
}

function Mark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M12 6 6 17h12z" />
      <circle cx="12" cy="5.5" r="3.2" />
      <circle cx="5.5" cy="17.5" r="3.2" />
      <circle cx="18.5" cy="17.5" r="3.2" />
    </svg>
  );
}
