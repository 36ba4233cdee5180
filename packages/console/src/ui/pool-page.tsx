import { useState } from "preact/hooks";
import type { FeatureRow, PoolAnswer, PoolMemberRow } from "@quorate/protocol";
import type { Snapshot } from "../live/live.ts";
import type { Happening, HappeningKind } from "../model/happenings.ts";
import {
  type Answered,
  count,
  healthOf,
  memberLook,
  memberWords,
  runsOut,
  seatsInUse,
} from "../model/pool-words.ts";
import { durationWords, instantWords } from "../model/time-words.ts";
import { Choice } from "./choice.tsx";
import { useNowMs } from "./hooks.ts";
import { percent, SeatBar } from "./seat-bar.tsx";

/** A card shows so many features; the page Features shows all. */
const CARD_FEATURES_MAX = 6;

export function PoolPage({ snapshot }: { readonly snapshot: Snapshot }) {
  const { pool, features } = snapshot;
  const nowMs = useNowMs();
  if (pool === null || features === null) return <p class="loading">Asking the pool …</p>;
  return (
    <>
      <section class="answers" aria-label="In short">
        <Answer question="Is the pool healthy?" answer={healthOf(pool)} live />
        <Answer
          question="Who has my seats?"
          answer={seatsInUse(features.features)}
          href="#/sessions"
        />
        <Answer
          question="When do I run out?"
          answer={runsOut(features.features, snapshot.usages, nowMs)}
          href="#/features"
        />
      </section>
      {pool.alarms.length > 0 && <Alarms alarms={pool.alarms} />}
      <Servers snapshot={snapshot} pool={pool} features={features.features} nowMs={nowMs} />
      <Lately happenings={snapshot.happenings} nowMs={nowMs} />
    </>
  );
}

interface AnswerProps {
  readonly question: string;
  readonly answer: Answered;
  readonly href?: string;
  readonly live?: boolean;
}

function Answer({ question, answer, href, live = false }: AnswerProps) {
  return (
    <div class={`answer ${answer.tone}`} {...(live ? { role: "status" } : {})}>
      <h2>{question}</h2>
      <p class="short">{href === undefined ? answer.short : <a href={href}>{answer.short}</a>}</p>
      <p class="more">{answer.more}</p>
    </div>
  );
}

function Alarms({ alarms }: { readonly alarms: readonly string[] }) {
  return (
    <section class="banner warn" aria-label="Alarms">
      <h2>{alarms.length === 1 ? "An alarm" : `${alarms.length} alarms`}</h2>
      <ul>
        {alarms.map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
    </section>
  );
}

interface ServersProps {
  readonly snapshot: Snapshot;
  readonly pool: PoolAnswer;
  readonly features: readonly FeatureRow[];
  readonly nowMs: number;
}

function Servers({ snapshot, pool, features, nowMs }: ServersProps) {
  const empty = Math.max(0, pool.size - pool.members.length);
  return (
    <section
      class="servers"
      aria-labelledby="servers"
      style={{ "--members": String(pool.members.length + empty) }}
    >
      <header class="section">
        <h2 id="servers">Servers</h2>
        <p>
          Term {pool.term} · majority {pool.majority.needed} of {pool.size} ·{" "}
          {pool.leader === null ? "no leader" : `${pool.leader.id} leads`}
        </p>
      </header>
      <ul class="members">
        {pool.members.map((member) => (
          <Member
            key={member.id}
            member={member}
            features={features}
            isLeader={pool.leader?.id === member.id}
            isSelf={pool.self === member.id}
            silent={snapshot.silent.has(member.id)}
            downForMs={nowMs - (snapshot.downSince.get(member.id) ?? nowMs)}
            leaseMs={pool.leaseMs}
          />
        ))}
        {Array.from({ length: empty }, (_, index) => (
          <li key={`empty-${index}`} class="member empty">
            <p>Room for another server</p>
          </li>
        ))}
      </ul>
      <div class={`store ${pool.store.state === "ok" ? "" : "bad"}`}>
        <span>
          Store <b>{pool.store.name}</b> · {pool.store.state}
          {pool.store.id !== null && (
            <>
              {" "}
              · id <code title={pool.store.id}>{pool.store.id.slice(0, 8)}</code>
            </>
          )}
        </span>
      </div>
    </section>
  );
}

interface MemberProps {
  readonly member: PoolMemberRow;
  readonly features: readonly FeatureRow[];
  readonly isLeader: boolean;
  readonly isSelf: boolean;
  readonly silent: boolean;
  readonly downForMs: number;
  readonly leaseMs: number;
}

function Member(props: MemberProps) {
  const { member, features, isLeader, isSelf, silent, downForMs, leaseMs } = props;
  const look = memberLook(member, silent);
  const facts = [
    `epoch ${member.epoch}`,
    `priority ${member.priority}`,
    member.licenseSequence === null ? "no license" : `license ${member.licenseSequence}`,
    ...(member.sessions === null ? [] : [`${count(member.sessions)} sessions`]),
  ];
  return (
    <li
      class={`member ${look}${isLeader ? " leads" : ""}`}
      data-member={member.id}
      data-look={look}
    >
      <h3>
        <span class="lamp" aria-hidden="true" />
        <span class="id">{member.id}</span>
        {isLeader && <span class="tag lead">leader</span>}
        {isSelf && <span class="tag">answers you</span>}
      </h3>
      <p class="state">
        {memberWords(member, look)}
        {look === "gone" && <span class="since"> for {durationWords(downForMs)}</span>}
      </p>
      <LeaseAge ageMs={member.leaseAgeMs} leaseMs={leaseMs} />
      <Allocations id={member.id} features={features} dead={look === "gone"} />
      <p class="facts">{facts.join(" · ")}</p>
      <p class="url">
        <a href={member.url} rel="noreferrer">
          {member.url.replace(/^https?:\/\//, "")}
        </a>
      </p>
    </li>
  );
}

/** How old the lease is, against how old it may get. */
function LeaseAge(props: { readonly ageMs: number | null; readonly leaseMs: number }) {
  const { ageMs, leaseMs } = props;
  const share = ageMs === null ? 1 : Math.min(1, ageMs / leaseMs);
  const words =
    ageMs === null
      ? "lease never seen renewed"
      : ageMs > leaseMs
        ? `lease over, last renewed ${durationWords(ageMs)} ago`
        : `lease renewed ${(ageMs / 1_000).toFixed(1)} s ago, good for ${leaseMs / 1_000} s`;
  return (
    <p class={share >= 1 ? "lease over" : "lease"}>
      <span class="age" aria-hidden="true">
        <span style={{ width: percent(1 - share, 1) }} />
      </span>
      {words}
    </p>
  );
}

interface AllocationsProps {
  readonly id: string;
  readonly features: readonly FeatureRow[];
  readonly dead: boolean;
}

function Allocations({ id, features, dead }: AllocationsProps) {
  const own = features.filter((each) => each.members[id] !== undefined);
  const shown = own.slice(0, CARD_FEATURES_MAX);
  if (own.length === 0) {
    const waits = features.some((each) => each.retired > 0);
    const left = waits ? "What it held waits for its clients." : "No seats are left with it.";
    return <p class="none">{dead ? left : "No seats are allocated to it."}</p>;
  }
  return (
    <div class="allocations">
      <ul>
        {shown.map((feature) => {
          const { seats, inUse } = feature.members[id] ?? { seats: 0, inUse: 0 };
          const scale = Math.max(...Object.values(feature.members).map((each) => each.seats));
          return (
            <li key={feature.name}>
              <span class="name">{feature.name}</span>
              <SeatBar inUse={inUse} seats={seats} scale={scale} dead={dead} />
              <span class="seats">
                {count(inUse)}
                <span class="of"> of {count(seats)}</span>
              </span>
            </li>
          );
        })}
      </ul>
      {own.length > shown.length && (
        <a class="all" href="#/features">
          and {own.length - shown.length} more features
        </a>
      )}
    </div>
  );
}

type Kinds = HappeningKind | "all";

const KINDS: readonly (readonly [Kinds, string])[] = [
  ["all", "All"],
  ["servers", "Servers"],
  ["seats", "Seats"],
  ["licenses", "Licenses"],
  ["requests", "Requests"],
  ["alarms", "Alarms"],
];

interface LatelyProps {
  readonly happenings: readonly Happening[];
  readonly nowMs: number;
}

function Lately({ happenings, nowMs }: LatelyProps) {
  const [kind, setKind] = useState<Kinds>("all");
  const shown = kind === "all" ? happenings : happenings.filter((each) => each.kind === kind);
  return (
    <section class="lately" aria-labelledby="lately">
      <header class="section">
        <h2 id="lately">What happened lately</h2>
        <Choice label="What is told" values={KINDS} chosen={kind} onChoose={setKind} />
      </header>
      <ol tabIndex={0} aria-labelledby="lately" aria-live="polite">
        {shown.length === 0 && (
          <li class="quiet">
            {kind === "all" ? "Nothing but work as usual." : "Nothing of this kind."}
          </li>
        )}
        {shown.map((each) => (
          <li key={`${each.key} ${each.atMs}`} class={each.tone} data-kind={each.kind}>
            <time dateTime={new Date(each.atMs).toISOString()}>
              {instantWords(each.atMs, nowMs)}
            </time>
            <span>
              {each.text}
              {each.times > 1 && <b class="times"> × {count(each.times)}</b>}
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}
