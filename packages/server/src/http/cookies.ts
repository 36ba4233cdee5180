/** Cookies as RFC 6265 has them, as far as one is needed here: one secret under one name. */
import { rawHeader, type RequestHead } from "./raw-header.ts";

/**
 * The value of the cookie; null when there is none. Two of one name are none: a page on a neighbouring host can put
 * one in front of ours, and nobody can tell them apart.
 */
export function cookieIn(request: RequestHead, name: string): string | null {
  const header = rawHeader(request, "cookie");
  if (header === undefined) return null;
  let found: string | null = null;
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    if (equals === -1 || pair.slice(0, equals).trim() !== name) continue;
    if (found !== null) return null;
    found = pair.slice(equals + 1).trim();
  }
  return found;
}

/**
 * A `Set-Cookie` that no script can read and no other site can make a browser send; `Lax`: unless it sends the whole
 * browser here. 0 seconds: it is taken away.
 */
export function cookieText(
  name: string,
  value: string,
  seconds: number,
  isSecure: boolean,
  sameSite: "Strict" | "Lax" = "Strict",
): string {
  const bounds = `HttpOnly; SameSite=${sameSite}; Path=/; Max-Age=${seconds}`;
  return `${name}=${value}; ${bounds}${isSecure ? "; Secure" : ""}`;
}

export function isEncrypted({ socket }: RequestHead): boolean {
  return "encrypted" in socket && socket.encrypted === true;
}
