/**
 * One header of a request, found in what the parser left. `request.headers` makes an object of all of them
 * for each request, which costs as much as the whole check of a heartbeat's body.
 */
import type { IncomingMessage } from "node:http";

/** What is known of a request before its body, whichever parser read it. */
export type RequestHead = Pick<IncomingMessage, "method" | "url" | "rawHeaders" | "socket">;

/** The value of the first header of this name, which is in lower case; undefined when there is none. */
export function rawHeader(request: RequestHead, name: string): string | undefined {
  const { rawHeaders } = request;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (isNamed(rawHeaders[index], name)) return rawHeaders[index + 1];
  }
  return undefined;
}

/** How often a header of this name, which is in lower case, is there. */
export function countOfHeader(request: RequestHead, name: string): number {
  const { rawHeaders } = request;
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (isNamed(rawHeaders[index], name)) count += 1;
  }
  return count;
}

function isNamed(written: string | undefined, name: string): boolean {
  if (written === undefined || written.length !== name.length) return false;
  return written === name || written.toLowerCase() === name;
}
