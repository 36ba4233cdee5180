/**
 * A license that is about to be installed, looked at before anybody sends it: what it says, what changes,
 * and what speaks against it. The servers look again and have the last word.
 */
import { instantMs } from "@quorate/core";
import type { License, LicenseFeature } from "@quorate/core";
import type { FeatureRow } from "@quorate/protocol";
import { parseLicense, verifySignature } from "@quorate/protocol";
import { plural } from "./pool-words.ts";
import { dayWords } from "./time-words.ts";

type Value = string | number | Readonly<Record<string, number>> | undefined;

export interface LicenseChange {
  /** The feature it is about; null for the document as a whole. */
  readonly feature: string | null;
  readonly field: string;
  readonly before: string;
  readonly after: string;
  readonly tone: "good" | "plain" | "bad";
}

export interface Offered {
  readonly text: string;
  readonly license: License;
  readonly changes: readonly LicenseChange[];
  /** Why no server will take it; empty when nothing speaks against it. */
  readonly mistakes: readonly string[];
  /** To be known before it is installed. */
  readonly warnings: readonly string[];
}

/** Whether the signature fits; `unchecked` where the browser offers no cryptography (plain HTTP). */
export type SignatureVerdict = "valid" | "invalid" | "unchecked";

export async function signatureVerdict(text: string): Promise<SignatureVerdict> {
  const parsed = parseLicense(text);
  if ("invalid" in parsed) return "invalid";
  if (!globalThis.isSecureContext) return "unchecked";
  const { key, value } = parsed.license.signature;
  return (await verifySignature(key, parsed.signed, value)) ? "valid" : "invalid";
}

/** `use`: of the features now, so that what is held beyond the new license is said before. */
export async function lookAtOffered(
  text: string,
  inForce: License | null,
  use: readonly FeatureRow[],
  nowMs: number,
): Promise<Offered | { readonly invalid: string }> {
  const parsed = parseLicense(text);
  if ("invalid" in parsed) return parsed;
  const { license } = parsed;
  const mistakes: string[] = [];
  const warnings = [...parsed.warnings];
  if ((await signatureVerdict(text)) === "invalid") {
    mistakes.push("Its signature does not fit: it was changed after the vendor signed it.");
  }
  if (inForce !== null) {
    if (license.signature.key !== inForce.signature.key) {
      mistakes.push("It is signed by another vendor's key than the license in force.");
    }
    if (license.pool.name !== inForce.pool.name) {
      mistakes.push(`It is for the pool “${license.pool.name}”, not for “${inForce.pool.name}”.`);
    }
    if (license.sequence < inForce.sequence) {
      mistakes.push(
        `It is older: number ${license.sequence}, and ${inForce.sequence} is in force. Only a higher number replaces it.`,
      );
    } else if (license.sequence === inForce.sequence) {
      mistakes.push(
        `It has the number ${license.sequence} of the license in force. Only a higher number replaces it.`,
      );
    }
    if (license.pool.size < inForce.pool.size) {
      warnings.push("It is for fewer servers: servers beyond the new size must be removed.");
    }
  }
  warnings.push(...warningsOfFeatures(license, use, nowMs));
  return { text, license, changes: changesBetween(inForce, license), mistakes, warnings };
}

function warningsOfFeatures(
  license: License,
  use: readonly FeatureRow[],
  nowMs: number,
): readonly string[] {
  const held = use.flatMap(({ name, inUse }) => {
    const after = license.features.find((each) => each.name === name);
    const seats = after === undefined ? 0 : after.seats + (after.overdraft ?? 0);
    if (inUse <= seats) return [];
    const kept = "Nobody is thrown out; nothing new is granted until enough has come back.";
    return [
      after === undefined
        ? `${name} is not licensed any more: ${plural(inUse, "seat")} in use now. ${kept}`
        : `${name}: ${plural(inUse, "seat")} in use now, and only ${seats} then. ${kept}`,
    ];
  });
  const ended = license.features
    .filter(({ expires }) => expires !== undefined && instantMs(expires) <= nowMs)
    .map(({ name, expires = "" }) => `${name} has ended already, on ${dayWords(expires)}.`);
  return [...held, ...ended];
}

export function changesBetween(before: License | null, after: License): LicenseChange[] {
  const changes: LicenseChange[] = [];
  const tell = (feature: string | null, field: string, old: Value, now: Value): void => {
    if (JSON.stringify(old) === JSON.stringify(now)) return;
    const [before, after] = bothWords(field, old, now);
    changes.push({ feature, field, before, after, tone: toneOf(field, old, now) });
  };
  const documentOf = (license: License | null): Record<string, Value> => ({
    sequence: license?.sequence,
    customer: license?.customer,
    vendor: license?.vendor,
    pool: license?.pool.name,
    servers: license?.pool.size,
    "pool key": license?.pool.key,
    "vendor key": license?.signature.key,
  });
  const [old, now] = [documentOf(before), documentOf(after)];
  for (const field of Object.keys(now)) tell(null, field, old[field], now[field]);
  for (const feature of after.features) {
    const known = before?.features.find((each) => each.name === feature.name);
    for (const field of fieldsOf(known, feature)) {
      tell(feature.name, LABELS[field] ?? field, known?.[field], feature[field]);
    }
  }
  for (const known of before?.features ?? []) {
    if (after.features.some((each) => each.name === known.name)) continue;
    changes.push({
      feature: known.name,
      field: "feature",
      before: `${known.seats} seats`,
      after: "not licensed any more",
      tone: "bad",
    });
  }
  return changes;
}

const LABELS: Readonly<Record<string, string>> = { lifeMs: "life, ms" };

type Field = keyof LicenseFeature;

function fieldsOf(before: LicenseFeature | undefined, after: LicenseFeature): Field[] {
  const names = new Set([...Object.keys(after), ...Object.keys(before ?? {})]);
  names.delete("name");
  return [...names] as Field[];
}

function toneOf(field: string, old: Value, now: Value): LicenseChange["tone"] {
  if (field === "seats" || field === "overdraft") {
    return Number(now ?? 0) >= Number(old ?? 0) ? "good" : "bad";
  }
  if (field === "expires") {
    if (now === undefined) return "good";
    return old !== undefined && instantMs(textOf(now)) >= instantMs(textOf(old)) ? "good" : "bad";
  }
  return "plain";
}

/** Days are enough for a term, unless both are on the same. */
function bothWords(field: string, old: Value, now: Value): readonly [string, string] {
  if (field === "expires" || field === "starts") {
    const none = field === "expires" ? "no end" : "at once";
    const day = (value: Value): string => (value === undefined ? none : dayWords(textOf(value)));
    if (day(old) !== day(now)) return [day(old), day(now)];
  }
  return [wordsOf(old), wordsOf(now)];
}

function wordsOf(value: Value): string {
  if (value === undefined) return "—";
  return textOf(value);
}

function textOf(value: Value): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}
