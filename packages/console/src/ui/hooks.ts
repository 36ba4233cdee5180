import { useEffect, useReducer, useState } from "preact/hooks";
import type { Live, Snapshot } from "../live/live.ts";
import type { Me } from "../live/logins.ts";
import type { PoolCalls } from "../live/pool-calls.ts";

export function useLive(live: Live): Snapshot {
  const again = useAgain();
  useEffect(() => live.subscribe(again), [live]);
  return live.snapshot;
}

/** Who this page is logged in as at the server that answers now. */
export function useMe(calls: PoolCalls): Me | null {
  const again = useAgain();
  useEffect(() => calls.logins.subscribe(again), [calls]);
  return calls.logins.me(calls.current);
}

/** Whether this page may change things: somewhere, since any server takes changes. */
export function useIsAdministrator(calls: PoolCalls): boolean {
  const again = useAgain();
  useEffect(() => calls.logins.subscribe(again), [calls]);
  return calls.logins.urls().some((url) => calls.logins.isAdministrator(url));
}

const NOW_EVERY_MS = 1_000;

/** For what counts seconds. */
export function useNowMs(): number {
  const [nowMs, setNowMs] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), NOW_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return nowMs;
}

export function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const look = (): void => setMatches(media.matches);
    media.addEventListener("change", look);
    return () => media.removeEventListener("change", look);
  }, [query]);
  return matches;
}

export const PAGES = ["pool", "features", "sessions", "license", "audit"] as const;
export type Page = (typeof PAGES)[number];

/** The page and what follows it: `#/sessions?feature=cad`. */
export function useRoute(): { readonly page: Page; readonly query: URLSearchParams } {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const look = (): void => setHash(location.hash);
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  const [name, query] = hash.replace(/^#\/?/, "").split("?", 2);
  return {
    page: PAGES.find((page) => page === name) ?? "pool",
    query: new URLSearchParams(query ?? ""),
  };
}

function useAgain(): () => void {
  const [, again] = useReducer((count: number, _action: undefined) => count + 1, 0);
  return () => again(undefined);
}
