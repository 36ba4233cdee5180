import { useState } from "preact/hooks";
import type { FeatureRow, PoolAnswer } from "@quorate/protocol";
import type { Snapshot } from "../live/live.ts";
import type { PoolCalls } from "../live/pool-calls.ts";
import { count, listWords, plural, seatsOf } from "../model/pool-words.ts";
import { dayWords, durationWords, termWords } from "../model/time-words.ts";
import type { Usage } from "../model/usage.ts";
import { useNowMs } from "./hooks.ts";
import { percent, SeatBar } from "./seat-bar.tsx";
import { UsagePanel } from "./usage-panel.tsx";

export interface FeaturesPageProps {
  readonly calls: PoolCalls;
  readonly snapshot: Snapshot;
  readonly chosen: string | null;
}

export function FeaturesPage({ calls, snapshot, chosen }: FeaturesPageProps) {
  const nowMs = useNowMs();
  const [search, setSearch] = useState("");
  const { features: answer, pool, usages } = snapshot;
  if (answer === null || pool === null) return <p class="loading">Asking the pool …</p>;
  const { features, missing } = answer;
  if (features.length === 0) return <p class="loading">The pool has no license, so no features.</p>;
  const shown = features.filter((each) => each.name.toLowerCase().includes(search.toLowerCase()));
  const detail = features.find((each) => each.name === chosen) ?? shown[0] ?? features[0];
  return (
    <>
      {missing.length > 0 && (
        <p class="banner warn" role="status">
          No report from {listWords(missing)} yet: what is in use there is not counted.
        </p>
      )}
      {features.length > 12 && (
        <label class="field inline">
          <span>Find a feature</span>
          <input
            type="search"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        </label>
      )}
      <div class="table-wrap" role="region" aria-label="Features" tabIndex={0}>
        <table class="features">
          <thead>
            <tr>
              <th scope="col">Feature</th>
              <th scope="col" class="bar-column">
                Use
              </th>
              <th scope="col" class="number">
                In use
              </th>
              <th scope="col" class="number">
                Seats
              </th>
              <th scope="col" class="number">
                Free
              </th>
              <th scope="col" class="number">
                Queued
              </th>
              <th scope="col" class="number">
                Denied
              </th>
              <th scope="col" class="number" title="Since you opened this page">
                Peak<span class="unseen"> since you opened this page</span>
              </th>
              <th scope="col">Term</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((feature) => (
              <Row
                key={feature.name}
                feature={feature}
                usage={usages.get(feature.name)}
                isChosen={feature.name === detail?.name}
                nowMs={nowMs}
              />
            ))}
          </tbody>
        </table>
      </div>
      {detail !== undefined && (
        <Detail
          calls={calls}
          feature={detail}
          pool={pool}
          usage={usages.get(detail.name)}
          openedAtMs={snapshot.openedAtMs}
        />
      )}
    </>
  );
}

interface RowProps {
  readonly feature: FeatureRow;
  readonly usage: Usage | undefined;
  readonly isChosen: boolean;
  readonly nowMs: number;
}

function Row({ feature, usage, isChosen, nowMs }: RowProps) {
  const seats = seatsOf(feature);
  const term = termWords(feature.starts, feature.expires, nowMs);
  return (
    <tr class={isChosen ? "chosen" : ""} data-feature={feature.name}>
      <th scope="row">
        <a
          href={`#/features?name=${encodeURIComponent(feature.name)}`}
          {...(isChosen ? { "aria-current": "true" as const } : {})}
        >
          {feature.name}
        </a>{" "}
        <small>up to {feature.version}</small>
      </th>
      <td class="bar-column">
        <SeatBar inUse={feature.inUse} seats={seats} />
      </td>
      <td class="number strong">{count(feature.inUse)}</td>
      <td class="number">
        {count(feature.seats)}
        {feature.overdraft > 0 && <small> + {count(feature.overdraft)}</small>}
      </td>
      <td class={`number ${feature.free === 0 ? "is-bad" : ""}`}>{count(feature.free)}</td>
      <td class={`number ${feature.queued > 0 ? "is-warn" : ""}`}>{count(feature.queued)}</td>
      <td class="number">{count(feature.denied)}</td>
      <td class="number">{usage === undefined ? "" : count(usage.peak)}</td>
      <td class={`term ${term.tone}`}>{term.words}</td>
    </tr>
  );
}

interface DetailProps {
  readonly calls: PoolCalls;
  readonly feature: FeatureRow;
  readonly pool: PoolAnswer;
  readonly usage: Usage | undefined;
  readonly openedAtMs: number;
}

function Detail({ calls, feature, pool, usage, openedAtMs }: DetailProps) {
  return (
    <section class="detail" aria-labelledby="detail">
      <header class="section">
        <h2 id="detail">{feature.name}</h2>
        <p>
          <a href={`#/sessions?feature=${encodeURIComponent(feature.name)}`}>
            See who holds {feature.name}
          </a>
        </p>
      </header>
      <UsagePanel calls={calls} feature={feature} usage={usage} openedAtMs={openedAtMs} />
      <Split feature={feature} pool={pool} />
      <ul class="notes">
        <li>
          Holders renew; a seat that is not renewed is free after {durationWords(feature.lifeMs)}.
        </li>
        {feature.expires !== null && <li>Licensed until {dayWords(feature.expires)}.</li>}
        {feature.debt > 0 && (
          <li class="is-bad">
            {plural(feature.debt, "seat")} more are held than the license allows now. Nobody is
            thrown out; what comes back pays first.
          </li>
        )}
        {feature.retired > 0 && (
          <li class="is-warn">
            {plural(feature.retired, "seat")} of servers that are gone wait for their clients, and
            are free after one life.
          </li>
        )}
      </ul>
    </section>
  );
}

/** Where the seats are: with each server, free in the pool, or waiting after a server's death. */
function Split({ feature, pool }: { readonly feature: FeatureRow; readonly pool: PoolAnswer }) {
  const parts = Object.entries(feature.members).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const allocated = parts.reduce((total, [, each]) => total + each.seats, 0);
  const rest = Math.max(0, seatsOf(feature) - allocated - feature.retired);
  const whole = Math.max(1, allocated + rest + feature.retired);
  const alive = new Set(pool.members.filter((each) => each.alive).map((each) => each.id));
  return (
    <ul class="split" aria-label="Where the seats are">
      {parts.map(([id, { seats, inUse }]) => (
        <li key={id} class={alive.has(id) ? "" : "dead"} style={{ flexGrow: seats }}>
          <span class="piece" aria-hidden="true">
            <span class="used" style={{ width: percent(inUse, seats) }} />
          </span>
          <b>{id}</b>
          <span>
            {count(inUse)} of {count(seats)}
          </span>
        </li>
      ))}
      {rest > 0 && (
        <li class="rest" style={{ flexGrow: rest }}>
          <span class="piece" aria-hidden="true" />
          <b>not allocated</b>
          <span>{count(rest)}</span>
        </li>
      )}
      {feature.retired > 0 && (
        <li class="dead" style={{ flexGrow: feature.retired }}>
          <span class="piece" aria-hidden="true" />
          <b>retired</b>
          <span>
            {count(feature.retired)} of {count(whole)}
          </span>
        </li>
      )}
    </ul>
  );
}
