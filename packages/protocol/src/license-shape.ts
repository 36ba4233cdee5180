/**
 * The shape of a license document, checked field by field with sentences for the person who wrote it.
 * Signatures are `license-document.ts`' business.
 *
 * Names that this version does not know are kept, because the vendor signed them, and reported, because
 * they are often a slip of the pen.
 */
import {
  FEATURES_MAX,
  LIFE_MS_MAX,
  MEMBERS_MAX,
  NAME_CHARACTERS_MAX,
  NAME_PATTERN,
  SEATS_MAX,
  VERSION_CHARACTERS_MAX,
} from "@quorate/core";
import { isObject } from "./json-text.ts";
import { parsePublicKey, parseSignature } from "./keys.ts";
import { isInstant } from "./instant.ts";

const LIFE_MS_MIN = 1_000;
const MISTAKES_TOLD_MAX = 3;
const WARNINGS_MAX = 20;
const VERSION_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/;
const NAME = new RegExp(NAME_PATTERN);

/** What a look at a document found. Empty `mistakes`: it has the shape of `License`. */
export interface ShapeFindings {
  readonly mistakes: string[];
  readonly warnings: string[];
}

/** All mistakes in one sentence, the first few in full. */
export function mistakesSentence({ mistakes }: ShapeFindings): string {
  const told = mistakes.slice(0, MISTAKES_TOLD_MAX).join("; ");
  const more = mistakes.length - MISTAKES_TOLD_MAX;
  return more > 0 ? `${told}; and ${more} more` : told;
}

/** `signed: false` looks at a document that still waits for `issued`, `pool.size` and `signature`. */
export function checkLicenseShape(document: unknown, signed: boolean): ShapeFindings {
  const findings: ShapeFindings = { mistakes: [], warnings: [] };
  if (!isObject(document)) {
    findings.mistakes.push("a license is one JSON object");
    return findings;
  }
  const look = new Look(document, "", findings);
  if (document["quorate"] !== 1) look.mistake("quorate", "must be 1, the version of this format");
  for (const field of ["id", "vendor", "customer"]) look.sentence(field);
  look.integer("sequence", 1, Number.MAX_SAFE_INTEGER);
  if (signed || document["issued"] !== undefined) look.instant("issued");
  checkPool(look.child("pool"));
  checkFeatures(document["features"], findings);
  if (signed) checkSignature(look.child("signature"));
  look.unknown("quorate id vendor customer sequence issued pool features signature".split(" "));
  return findings;
}

function checkPool(look: Look | null): void {
  if (look === null) return;
  look.name("name");
  if (look.has("size")) look.integer("size", 1, MEMBERS_MAX);
  if (look.has("key")) look.publicKey("key");
  look.unknown(["name", "size", "key"]);
}

function checkSignature(look: Look | null): void {
  if (look === null) return;
  look.publicKey("key");
  const value = look.of["value"];
  if (typeof value !== "string" || parseSignature(value) === null) {
    look.mistake("value", "must be an Ed25519 signature: 64 bytes as base64url");
  }
  look.unknown(["key", "value"]);
}

function checkFeatures(features: unknown, findings: ShapeFindings): void {
  if (!Array.isArray(features) || features.length === 0 || features.length > FEATURES_MAX) {
    findings.mistakes.push(`features must be a list of 1 to ${FEATURES_MAX} features`);
    return;
  }
  const names = new Set<unknown>();
  for (const [index, feature] of features.entries()) {
    const path = `features[${index}]`;
    if (!isObject(feature)) {
      findings.mistakes.push(`${path} must be an object`);
      continue;
    }
    const look = new Look(feature, `${path}.`, findings);
    checkFeature(look);
    if (names.has(feature["name"])) {
      look.mistake("name", `${quoted(feature["name"])} is there twice: one record for each name`);
    }
    names.add(feature["name"]);
  }
}

function checkFeature(look: Look): void {
  const { name, version, seats, starts, expires } = look.of;
  look.name("name");
  if (
    typeof version !== "string" ||
    version.length > VERSION_CHARACTERS_MAX ||
    !VERSION_PATTERN.test(version)
  ) {
    look.mistake("version", `must be a version like "2026.1", the highest that is covered`);
  }
  look.integer("seats", 0, SEATS_MAX);
  if (look.has("starts")) look.instant("starts");
  if (look.has("expires")) look.instant("expires");
  if (isInstant(starts) && isInstant(expires) && Date.parse(starts) >= Date.parse(expires)) {
    look.mistake("expires", "must be later than starts");
  }
  if (look.has("lifeMs")) look.integer("lifeMs", LIFE_MS_MIN, LIFE_MS_MAX);
  if (look.has("overdraft")) look.integer("overdraft", 0, SEATS_MAX);
  const seatsMax = typeof seats === "number" ? seats : SEATS_MAX;
  if (look.has("borrow")) checkBorrow(look.child("borrow"), seatsMax);
  if (look.has("spread")) checkSpread(look, seatsMax);
  look.unknown(
    "name version seats starts expires lifeMs overdraft borrow spread".split(" "),
    typeof name === "string" ? ` of feature ${quoted(name)}` : "",
  );
}

function checkBorrow(look: Look | null, seatsMax: number): void {
  if (look === null) return;
  look.integer("seats", 0, seatsMax);
  look.integer("maxMs", 1, Number.MAX_SAFE_INTEGER);
  look.unknown(["seats", "maxMs"]);
}

function checkSpread(feature: Look, seatsMax: number): void {
  const look = feature.child("spread");
  if (look === null) return;
  const members = Object.keys(look.of);
  if (members.length > MEMBERS_MAX) {
    feature.mistake("spread", `names more than ${MEMBERS_MAX} members`);
    return;
  }
  let total = 0;
  for (const member of members) {
    if (!isName(member))
      feature.mistake("spread", `names ${quoted(member)}, which is no member id`);
    look.integer(member, 0, SEATS_MAX);
    const share = look.of[member];
    if (typeof share === "number") total += share;
  }
  if (total > seatsMax) {
    feature.mistake("spread", `adds up to ${total} seats, but only ${seatsMax} are licensed`);
  }
}

/** Whether the text may be the name of a member, feature or pool. */
export function isName(value: unknown): value is string {
  return typeof value === "string" && value.length <= NAME_CHARACTERS_MAX && NAME.test(value);
}

/** One object of the document under its path, so that every sentence names the field. */
class Look {
  readonly of: Record<string, unknown>;
  readonly #path: string;
  readonly #findings: ShapeFindings;

  constructor(of: Record<string, unknown>, path: string, findings: ShapeFindings) {
    this.of = of;
    this.#path = path;
    this.#findings = findings;
  }

  mistake(field: string, sentence: string): void {
    this.#findings.mistakes.push(`${this.#path}${field} ${sentence}`);
  }

  has(field: string): boolean {
    return this.of[field] !== undefined;
  }

  child(field: string): Look | null {
    const value = this.of[field];
    if (isObject(value)) return new Look(value, `${this.#path}${field}.`, this.#findings);
    this.mistake(field, "must be an object");
    return null;
  }

  integer(field: string, min: number, max: number): void {
    const value = this.of[field];
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max) {
      return;
    }
    this.mistake(field, `must be a whole number from ${min} to ${max}, not ${quoted(value)}`);
  }

  name(field: string): void {
    if (isName(this.of[field])) return;
    this.mistake(
      field,
      `must be a name of at most ${NAME_CHARACTERS_MAX} letters, digits, ".", "_" and "-" that begins ` +
        `with a letter or digit, not ${quoted(this.of[field])}`,
    );
  }

  /** Free words for people: no control characters, so that it prints as one line. */
  sentence(field: string): void {
    const value = this.of[field];
    const fits =
      typeof value === "string" &&
      value.trim().length > 0 &&
      value.length <= NAME_CHARACTERS_MAX &&
      !/\p{Cc}/u.test(value);
    if (!fits) {
      this.mistake(field, `must be a text of 1 to ${NAME_CHARACTERS_MAX} printable characters`);
    }
  }

  instant(field: string): void {
    if (isInstant(this.of[field])) return;
    this.mistake(
      field,
      `must be an instant like "2026-12-31T23:59:59Z" (RFC 3339), not ${quoted(this.of[field])}`,
    );
  }

  publicKey(field: string): void {
    const value = this.of[field];
    if (typeof value === "string" && parsePublicKey(value) !== null) return;
    this.mistake(field, `must be a public key like "ed25519:…", not ${quoted(value)}`);
  }

  unknown(known: readonly string[], where = ""): void {
    for (const field of Object.keys(this.of)) {
      if (known.includes(field) || this.#findings.warnings.length >= WARNINGS_MAX) continue;
      this.#findings.warnings.push(
        `${this.#path}${short(field)}${where} is unknown to this version and has no effect`,
      );
    }
  }
}

function quoted(value: unknown): string {
  return value === undefined ? "missing" : short(JSON.stringify(value));
}

function short(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
