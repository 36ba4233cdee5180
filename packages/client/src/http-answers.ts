/**
 * From status and body to a value, or null for whatever makes no sense: a proxy's page, half an answer, a
 * server that is none of ours. The client's belief is computed from these numbers, so they are looked at.
 */
import { LIFE_MS_MAX, SEATS_MAX } from "@quorate/core";
import { refusalOf } from "@quorate/protocol";
import type {
  Answer,
  FeaturesAnswer,
  Granted,
  LicenseAnswer,
  PoolAnswer,
  ReleaseAnswer,
} from "@quorate/protocol";

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

export function answerOf(http: HttpAnswer): Answer | null {
  const body = jsonOf(http.body);
  if (http.status !== 200 && http.status !== 201) return refusalIn(http, body);
  return isObject(body) ? grantedOf(body, http.status === 201) : null;
}

export function releaseAnswerOf(http: HttpAnswer): ReleaseAnswer | null {
  if (http.status === 204) return { released: true, reached: true };
  if (http.status === 202) return { released: true, reached: false };
  return refusalIn(http, jsonOf(http.body));
}

export function poolAnswerOf(http: HttpAnswer): PoolAnswer | null {
  const body = jsonOf(http.body);
  return http.status === 200 && isPoolAnswer(body) ? body : null;
}

export function featuresAnswerOf(http: HttpAnswer): FeaturesAnswer | null {
  const body = jsonOf(http.body);
  return http.status === 200 && isFeaturesAnswer(body) ? body : null;
}

export function licenseAnswerOf(http: HttpAnswer): LicenseAnswer | null {
  const body = jsonOf(http.body);
  if (http.status !== 200 || !isObject(body)) return null;
  const { sequence, license } = body;
  return isCount(sequence) && license !== undefined ? { sequence, license } : null;
}

function refusalIn(http: HttpAnswer, body: unknown) {
  const refusal = http.status >= 400 ? refusalOf(body) : null;
  if (refusal?.leader === undefined) return refusal;
  return { ...refusal, leader: baseOf(refusal.leader) };
}

function grantedOf(body: Record<string, unknown>, created: boolean): Granted | null {
  const { session, feature, seats, member, lifeMs, heartbeatMs, token, converted } = body;
  const pool = poolOf(body["pool"]);
  if (typeof session !== "string" || typeof feature !== "string") return null;
  if (typeof member !== "string" || pool === null) return null;
  if (!isCount(seats) || seats < 1 || seats > SEATS_MAX) return null;
  if (!isCount(lifeMs) || lifeMs > LIFE_MS_MAX || !isCount(heartbeatMs)) return null;
  if (token !== undefined && typeof token !== "string") return null;
  return {
    session,
    feature,
    seats,
    member,
    lifeMs,
    heartbeatMs,
    ...(token === undefined ? {} : { token }),
    pool,
    created,
    ...(typeof converted === "boolean" ? { converted } : {}),
  };
}

function poolOf(value: unknown): Granted["pool"] | null {
  if (!isObject(value)) return null;
  const { leader, servers } = value;
  if (leader !== null && typeof leader !== "string") return null;
  if (!Array.isArray(servers)) return null;
  const urls = servers.filter((server): server is string => typeof server === "string");
  return { leader: leader === null ? null : baseOf(leader), servers: urls.map(baseOf) };
}

/** One server has one name, whatever its administrator wrote at its end. */
function baseOf(url: string): string {
  return url.replace(/\/+$/, "");
}

/** As far as the SDK uses it; the rest is passed on as it came. */
function isPoolAnswer(body: unknown): body is PoolAnswer {
  return (
    isObject(body) &&
    typeof body["self"] === "string" &&
    Array.isArray(body["members"]) &&
    body["members"].every(
      (member) =>
        isObject(member) && typeof member["id"] === "string" && typeof member["url"] === "string",
    )
  );
}

function isFeaturesAnswer(body: unknown): body is FeaturesAnswer {
  return (
    isObject(body) &&
    Array.isArray(body["features"]) &&
    body["features"].every(
      (row) =>
        isObject(row) &&
        typeof row["name"] === "string" &&
        isObject(row["members"]) &&
        Object.values(row["members"]).every(
          (member) => isObject(member) && isCount(member["seats"]) && isCount(member["inUse"]),
        ),
    )
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is no answer; the caller finds nothing in undefined.
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
