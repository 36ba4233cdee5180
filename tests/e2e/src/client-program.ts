/**
 * A program of its own that holds one seat and says in lines of JSON what it hears, with the instants of the
 * clock that all processes share. Its one argument is JSON: servers, waitMs.
 */
import { nodeClient } from "@quorate/client/node";
import { nowMs } from "./wait.ts";

const { servers, waitMs } = JSON.parse(process.argv[2] ?? "{}") as {
  readonly servers: string[];
  readonly waitMs: number;
};

function say(word: string, more: object = {}): void {
  console.log(JSON.stringify({ word, atMs: nowMs(), ...more }));
}

const client = nodeClient({ servers });
const authorization = await client.checkout({ feature: "cad", waitMs });
const held = () => ({
  session: authorization.session,
  member: authorization.member,
  untilMs: nowMs() + authorization.expiresInMs(),
});
say("granted", held());
authorization.on("renewed", () => say("renewed", held()));
authorization.on("moved", () => say("moved", held()));
authorization.on("lost", ({ reason, retrying }) => say("lost", { reason, retrying }));
authorization.on("regained", () => say("regained", held()));
// It works until it is ended.
setInterval(() => undefined, 60_000);
