/**
 * What the exit code of `quorate` says. Scripts and service files rely on these numbers: they never change
 * their meaning. `quorate run` answers with the wrapped program's own code once that has started.
 */
export const EXIT = {
  ok: 0,
  /** Something went wrong that has no number of its own; the message says what. */
  failure: 1,
  /** The command line is wrong; nothing was done. */
  usage: 2,
  /** Refused by the license or a policy, or no seat is free. */
  denied: 3,
  /** No server answered, or none may grant at the moment: worth another try. */
  unreachable: 4,
  /** The license is not valid: shape, signature or vendor. */
  licenseInvalid: 5,
  /** Another process of this member lives. Service files must not restart on it. */
  memberLives: 6,
  /** The pool or the data folder has a newer license. */
  licenseOlder: 7,
  /** There is another license with the same sequence number. */
  licenseConflict: 8,
  /** The server resigned because it cannot do its work: its journal's disk fails. */
  broken: 10,
  /** The server was removed from the pool. Service files must not restart on it. */
  removed: 11,
  /** The license allows no further server. */
  noPlace: 12,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The table for `quorate --help`; the type makes a code without words fail to compile. */
const MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: "done",
  failure: "failed; the message says why",
  usage: "wrong command line; nothing was done",
  denied: "refused by the license or a policy, or no seat is free",
  unreachable: "no server answered, or none may grant at the moment",
  licenseInvalid: "the license is not valid",
  memberLives: "another process of this member lives: do not restart",
  licenseOlder: "a newer license is installed",
  licenseConflict: "another license with the same sequence is installed",
  broken: "the server resigned: its journal cannot be written",
  removed: "the server was removed from the pool: do not restart",
  noPlace: "the license allows no further server in the pool",
};

export function exitCodesHelp(): string {
  const lines = Object.entries(MEANINGS).map(
    ([name, meaning]) => `  ${String(Reflect.get(EXIT, name))}  ${meaning}`,
  );
  return `\nExit codes:\n${lines.join("\n")}`;
}
