import { readFileSync } from "node:fs";
import { EXIT } from "./exit-codes.ts";
import { Failure } from "./failure.ts";

const SERVERS_MAX = 32;

/** The servers from the flag, else from `QUORATE_SERVERS`: URLs with commas or spaces between them. */
export function serversFrom(flag: string | undefined, option = "--servers"): readonly string[] {
  const given = flag ?? process.env["QUORATE_SERVERS"] ?? "";
  const servers = given.split(/[\s,]+/).filter((text) => text !== "");
  if (servers.length === 0) {
    throw new Failure(`no server is named: use ${option} or QUORATE_SERVERS`, EXIT.usage);
  }
  if (servers.length > SERVERS_MAX) {
    throw new Failure(`at most ${SERVERS_MAX} servers may be named`, EXIT.usage);
  }
  for (const server of servers) {
    if (!URL.canParse(server) || !/^https?:$/.test(new URL(server).protocol)) {
      throw new Failure(`"${server}" is no server; write it as http://host:port`, EXIT.usage);
    }
  }
  return servers.map((server) => server.replace(/\/+$/, ""));
}

/** The administrator's token from the file named by the flag, else by `QUORATE_ADMIN_TOKEN_FILE`. */
export function adminTokenFrom(flag: string | undefined): string {
  const file = flag ?? process.env["QUORATE_ADMIN_TOKEN_FILE"];
  if (file === undefined || file === "") {
    throw new Failure(
      "the administrator's token is needed: use --admin-token-file or QUORATE_ADMIN_TOKEN_FILE",
      EXIT.usage,
    );
  }
  return tokenIn(file);
}

/** The one line of a token's file. */
export function tokenIn(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch {
    throw new Failure(`cannot read the token from ${file}`);
  }
  // A header takes one line of printable ASCII; anything else would be thrown by fetch as a bug.
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw new Failure(`${file} holds no token; it should be one line of text`);
}
