/**
 * The web console's files, read once at the start into a table by path. What is not in the table is not
 * there: no path from a request ever reaches the file system, so there is nothing to traverse.
 *
 * The console is optional. Without its folder, or with one that is not a built console, `/` answers
 * everybody with the few words in JSON that programs get.
 */
import { type Dirent, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { PoolAnswer } from "@quorate/protocol";
import { originsOf } from "./cross-origin.ts";

const FILES_MAX = 64;
const FILE_BYTES_MAX = 2 * 1024 * 1024;
/** Below this, compression gains nothing. */
const GZIP_BYTES_MIN = 512;
const ASSETS = "assets";

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

interface ConsoleFile {
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly gzipped: Buffer | null;
}

export interface ConsoleFiles {
  readonly page: ConsoleFile;
  /** By name within `/assets/`. Their names carry a hash of their content. */
  readonly assets: ReadonlyMap<string, ConsoleFile>;
}

/** Null when no console was built there. */
export function readConsole(folder: string | null): ConsoleFiles | null {
  if (folder === null) return null;
  const page = readOne(join(folder, "index.html"), ".html");
  if (page === null) return null;
  const assets = new Map<string, ConsoleFile>();
  for (const entry of entriesOf(join(folder, ASSETS)).slice(0, FILES_MAX)) {
    const file = entry.isFile()
      ? readOne(join(folder, ASSETS, entry.name), extensionOf(entry.name))
      : null;
    if (file !== null) assets.set(entry.name, file);
  }
  return { page, assets };
}

/** `/assets/…`; the page itself shares `/` with the JSON for programs, so its route is elsewhere. */
export function addConsoleRoutes(app: FastifyInstance, files: ConsoleFiles): void {
  app.get<{ Params: { name: string } }>(`/${ASSETS}/:name`, (request, reply) => {
    const file = files.assets.get(request.params.name);
    if (file === undefined) return reply.callNotFound();
    void reply.header("Cache-Control", "public, max-age=31536000, immutable");
    return sendFile(request, reply, file);
  });
}

/** Browsers say `text/html` in `Accept`; programs that take anything get JSON. */
export function wantsPage(request: FastifyRequest): boolean {
  return (request.headers.accept ?? "").includes("text/html");
}

export function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  files: ConsoleFiles,
  pool: PoolAnswer,
): FastifyReply {
  void reply.headers({
    "Cache-Control": "no-cache",
    "Content-Security-Policy": policyFor(pool),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    Vary: "Accept, Accept-Encoding",
  });
  return sendFile(request, reply, files.page);
}

/** Nothing but the console's own files; calls go to this member and to the other members of its pool. */
function policyFor(pool: PoolAnswer): string {
  const members = pool.members.flatMap((member) => originsOf(member.url));
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    `connect-src ${["'self'", ...new Set(members)].join(" ")}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}

function sendFile(request: FastifyRequest, reply: FastifyReply, file: ConsoleFile): FastifyReply {
  void reply.type(file.mediaType);
  void reply.header("Cross-Origin-Resource-Policy", "same-origin");
  if (file.gzipped === null || !/\bgzip\b/.test(String(request.headers["accept-encoding"]))) {
    return reply.send(file.bytes);
  }
  return reply.header("Content-Encoding", "gzip").send(file.gzipped);
}

function readOne(path: string, extension: string): ConsoleFile | null {
  const mediaType = MEDIA_TYPES[extension];
  if (mediaType === undefined) return null;
  try {
    if (statSync(path).size > FILE_BYTES_MAX) return null;
    const bytes = readFileSync(path);
    return { mediaType, bytes, gzipped: bytes.length < GZIP_BYTES_MIN ? null : gzipSync(bytes) };
  } catch {
    // Not built, or not to be read by this user: the member's work does not depend on a console.
    return null;
  }
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    // As above.
    return [];
  }
}

function extensionOf(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot === -1 ? "" : name.slice(dot);
}
