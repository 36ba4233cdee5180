import { useEffect, useRef, useState } from "preact/hooks";
import type { Administrator } from "../live/administrator.ts";
import type { Link, Live } from "../live/live.ts";
import { durationWords } from "../model/time-words.ts";
import { FeaturesPage } from "./features-page.tsx";
import { type Page, PAGES, useLive, useNowMs, useRoute, useToken } from "./hooks.ts";
import { LicensePage } from "./license-page.tsx";
import { PoolPage } from "./pool-page.tsx";
import { SessionsPage } from "./sessions-page.tsx";
import { TokenDialog } from "./token-dialog.tsx";

const TITLES: Readonly<Record<Page, string>> = {
  pool: "Pool",
  features: "Features",
  sessions: "Sessions",
  license: "License",
};

export interface AppProps {
  readonly live: Live;
  readonly administrator: Administrator;
}

export function App({ live, administrator }: AppProps) {
  const snapshot = useLive(live);
  const { page, query } = useRoute();
  const [asksToken, setAsksToken] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const name = snapshot.pool?.pool ?? null;
  useEffect(() => {
    document.title = `${TITLES[page]} · ${name ?? "Quorate"}`;
  }, [page, name]);
  const [shown, setShown] = useState(page);
  useEffect(() => {
    // A reader who follows a link hears the new page; the first page takes nobody's focus.
    if (shown !== page) heading.current?.focus();
    setShown(page);
  }, [page]);

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
          {PAGES.map((each) => (
            <a key={each} href={`#/${each}`} {...(each === page ? { "aria-current": "page" } : {})}>
              {TITLES[each]}
            </a>
          ))}
        </nav>
        <div class="status">
          <LinkWords link={snapshot.link} />
          <KeyButton administrator={administrator} onClick={() => setAsksToken(true)} />
        </div>
      </header>
      {snapshot.link.state === "lost" && <Lost link={snapshot.link} />}
      <main>
        <h1 ref={heading} tabIndex={-1} class="page-title">
          {TITLES[page]}
        </h1>
        {page === "pool" && <PoolPage snapshot={snapshot} />}
        {page === "features" && <FeaturesPage snapshot={snapshot} chosen={query.get("name")} />}
        {page === "sessions" && (
          <SessionsPage
            live={live}
            administrator={administrator}
            snapshot={snapshot}
            feature={query.get("feature") ?? ""}
          />
        )}
        {page === "license" && (
          <LicensePage live={live} administrator={administrator} snapshot={snapshot} />
        )}
      </main>
      {asksToken && (
        <TokenDialog administrator={administrator} onClose={() => setAsksToken(false)} />
      )}
    </>
  );
}

const LINK_WORDS: Readonly<Record<Link["state"], string>> = {
  connecting: "connecting",
  live: "live",
  polling: "polling",
  lost: "no answer",
};

function LinkWords({ link }: { readonly link: Link }) {
  return (
    <span class={`link ${link.state}`} role="status">
      <span class="dot" aria-hidden="true" />
      <span class="how">{LINK_WORDS[link.state]}</span>
      {link.member !== null && <span class="from"> from {link.member}</span>}
    </span>
  );
}

function KeyButton(props: { readonly administrator: Administrator; readonly onClick: () => void }) {
  const known = useToken(props.administrator) !== null;
  return (
    <button
      type="button"
      class={known ? "button key on" : "button key"}
      title="Changes need the administrator’s token"
      onClick={props.onClick}
    >
      {known ? "Unlocked" : "Unlock"}
    </button>
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
