import { useEffect, useState } from "preact/hooks";
import { LICENSE_BYTES_MAX } from "@quorate/core";
import type { License } from "@quorate/core";
import type { LicenseAnswer } from "@quorate/protocol";
import type { Live, Snapshot } from "../live/live.ts";
import { lookAtOffered, signatureVerdict } from "../model/license-check.ts";
import type { Offered, SignatureVerdict } from "../model/license-check.ts";
import { count } from "../model/pool-words.ts";
import { dayWords, durationWords, termWords } from "../model/time-words.ts";
import { useNowMs } from "./hooks.ts";
import { LicenseHistory } from "./license-history.tsx";
import { LicenseOffer } from "./license-offer.tsx";

export interface LicensePageProps {
  readonly live: Live;
  readonly snapshot: Snapshot;
}

export function LicensePage({ live, snapshot }: LicensePageProps) {
  const { license: answer } = snapshot;
  const inForce = answer === null || answer === "none" ? null : answer;
  const [offered, setOffered] = useState<Offered | { readonly invalid: string } | null>(null);
  const [installed, setInstalled] = useState<LicenseAnswer | null>(null);
  if (answer === null) return <p class="loading">Reading the license …</p>;
  const current = inForce === null ? null : (inForce.license as License);
  const take = async (file: File | undefined): Promise<void> => {
    if (file === undefined) return;
    setInstalled(null);
    if (file.size > LICENSE_BYTES_MAX) {
      setOffered({ invalid: `is larger than ${count(LICENSE_BYTES_MAX)} bytes` });
      return;
    }
    const use = snapshot.features?.features ?? [];
    setOffered(await lookAtOffered(await file.text(), current, use, Date.now()));
  };
  return (
    <div class="license-page">
      <section class="offer" aria-labelledby="install">
        <header class="section">
          <h2 id="install">Install a newer license</h2>
        </header>
        <DropZone onFile={(file) => void take(file)} />
        {installed !== null && (
          <p class={`banner ${installed.kept === undefined ? "good" : "warn"}`} role="status">
            {installed.kept ??
              `License ${installed.sequence} is in force. Every server takes it over; one that is down does when it comes back.`}
          </p>
        )}
        {offered !== null && "invalid" in offered && (
          <p class="banner bad" role="alert">
            This file is no license: it {offered.invalid.replace(/^it /, "")}.
          </p>
        )}
        {offered !== null && "license" in offered && (
          <LicenseOffer
            offered={offered}
            live={live}
            onClose={(given) => {
              setOffered(null);
              setInstalled(given);
            }}
          />
        )}
      </section>
      {inForce === null || current === null ? (
        <p class="banner warn">
          The pool has no license yet. Install one: nothing is granted without.
        </p>
      ) : (
        <div>
          <InForce answer={inForce} license={current} snapshot={snapshot} />
          <LicenseHistory calls={live.calls} sequence={current.sequence} />
        </div>
      )}
    </div>
  );
}

function DropZone({ onFile }: { readonly onFile: (file: File | undefined) => void }) {
  const [over, setOver] = useState(false);
  return (
    <label
      class={over ? "drop over" : "drop"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        onFile(event.dataTransfer?.files[0]);
      }}
    >
      <span>
        Drop a license file here, or <u>choose one</u>
      </span>
      <small>Nothing is sent before you have seen what changes.</small>
      <input
        type="file"
        accept=".json,application/json"
        onChange={(event) => {
          onFile(event.currentTarget.files?.[0]);
          // The same file again, corrected, is a new choice.
          event.currentTarget.value = "";
        }}
      />
    </label>
  );
}

interface InForceProps {
  readonly answer: LicenseAnswer;
  readonly license: License;
  readonly snapshot: Snapshot;
}

const VERDICTS: Readonly<
  Record<SignatureVerdict, { readonly words: string; readonly tone: string }>
> = {
  valid: { words: "signature valid", tone: "good" },
  invalid: { words: "signature NOT valid", tone: "bad" },
  unchecked: { words: "signature checked by the servers", tone: "" },
};

function InForce({ answer, license, snapshot }: InForceProps) {
  const nowMs = useNowMs();
  const [verdict, setVerdict] = useState<SignatureVerdict | null>(null);
  const text = JSON.stringify(answer.license);
  useEffect(() => {
    let current = true;
    void signatureVerdict(text).then((found) => {
      if (current) setVerdict(found);
    });
    return () => {
      current = false;
    };
  }, [text]);
  const behind =
    snapshot.pool?.members.filter(
      (each) => each.alive && each.licenseSequence !== license.sequence,
    ) ?? [];
  return (
    <section class="in-force" aria-labelledby="in-force">
      <header class="section">
        <h2 id="in-force">In force: number {license.sequence}</h2>
        <p>
          {verdict !== null && (
            <span class={`tag ${VERDICTS[verdict].tone}`} data-verdict={verdict}>
              {VERDICTS[verdict].words}
            </span>
          )}
          {behind.length > 0 && (
            <span class="tag warn">not yet at {behind.map((each) => each.id).join(", ")}</span>
          )}
        </p>
      </header>
      <dl class="facts-list document">
        <Fact name="Customer" value={license.customer} />
        <Fact name="Vendor" value={license.vendor} />
        <Fact name="License id" value={license.id} />
        <Fact name="Issued" value={dayWords(license.issued)} />
        <Fact
          name="Pool"
          value={`${license.pool.name}, ${license.pool.size === 1 ? "1 server" : `${license.pool.size} servers`}`}
        />
        <Fact
          name="Pool key"
          value={license.pool.key ?? "none: programs verify up to the pool only"}
          code
        />
        <Fact name="Vendor key" value={license.signature.key} code />
      </dl>
      <div class="table-wrap" role="region" aria-label="Licensed features" tabIndex={0}>
        <table class="licensed">
          <thead>
            <tr>
              <th scope="col">Feature</th>
              <th scope="col">Up to version</th>
              <th scope="col" class="number">
                Seats
              </th>
              <th scope="col" class="number">
                Overdraft
              </th>
              <th scope="col">Term</th>
              <th scope="col">Life</th>
            </tr>
          </thead>
          <tbody>
            {license.features.map((feature) => {
              const term = termWords(feature.starts ?? null, feature.expires ?? null, nowMs);
              return (
                <tr key={feature.name}>
                  <th scope="row">{feature.name}</th>
                  <td>{feature.version}</td>
                  <td class="number strong">{count(feature.seats)}</td>
                  <td class="number">
                    {feature.overdraft === undefined ? "–" : count(feature.overdraft)}
                  </td>
                  <td class={`term ${term.tone}`}>
                    {feature.expires === undefined ? "no end" : dayWords(feature.expires)}
                    {feature.expires !== undefined && <small> {term.words}</small>}
                  </td>
                  <td>
                    {feature.lifeMs === undefined ? "standard" : durationWords(feature.lifeMs)}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <details>
        <summary>The document as it was signed</summary>
        <pre tabIndex={0}>{JSON.stringify(answer.license, null, 2)}</pre>
      </details>
    </section>
  );
}

function Fact(props: { readonly name: string; readonly value: string; readonly code?: boolean }) {
  return (
    <div>
      <dt>{props.name}</dt>
      <dd>{props.code === true ? <code>{props.value}</code> : props.value}</dd>
    </div>
  );
}
