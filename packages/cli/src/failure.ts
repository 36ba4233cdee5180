/**
 * How a command ends without success: one sentence for a person and a code for a script. Everything else
 * that is thrown is a bug and shows its stack.
 */
import { EXIT, type ExitCode } from "./exit-codes.ts";

export class Failure extends Error {
  override readonly name = "Failure";
  readonly exitCode: ExitCode;
  /** The stable code of the refusal, where there is one; `--json` shows it. */
  readonly code: string | null;

  constructor(message: string, exitCode: ExitCode = EXIT.failure, code: string | null = null) {
    super(message);
    this.exitCode = exitCode;
    this.code = code;
  }
}

/** The code to exit with after telling the person. */
export function tellFailure(error: unknown): number {
  if (error instanceof Failure) {
    console.error(`quorate: ${error.message}${error.code === null ? "" : ` (${error.code})`}`);
    return error.exitCode;
  }
  if (isForPeople(error)) {
    console.error(`quorate: ${error.message}`);
    return EXIT.failure;
  }
  console.error("quorate: this is a bug; please report it with the lines below");
  console.error(error);
  return EXIT.failure;
}

/**
 * Told by its name: importing the class would load the server's packages into every command, which takes longer
 * than most of them.
 */
function isForPeople(error: unknown): error is Error {
  return error instanceof Error && error.name === "ForPeople";
}

/** Sentences that do not stop the command. They go to stderr, so that output stays parseable. */
export function tellWarnings(warnings: readonly string[]): void {
  for (const warning of warnings) console.error(`quorate: warning: ${warning}`);
}
