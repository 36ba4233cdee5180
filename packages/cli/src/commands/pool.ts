/** `quorate pool`: the pool as a whole. */
import type { Command } from "commander";
import { makeKeyPair } from "../key-pair.ts";

export function poolCommand(program: Command): void {
  const pool = program.command("pool").description("the pool as a whole (administrator)");
  pool
    .command("keygen")
    .description(
      "make pool.key (keep it secret) and pool.pub (the vendor puts it into the license)",
    )
    .requiredOption("--out <dir>", "folder for the two files")
    .action((options: { out: string }) => {
      const { publicKey, publicFile } = makeKeyPair(options.out, "pool");
      console.log(`${publicFile}: ${publicKey}`);
    });
}
