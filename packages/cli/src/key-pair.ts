import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  generatePrivateKey,
  publicKeyOf,
  writePrivateKey,
  writePublicKey,
} from "@quorate/server/keys";
import { Failure } from "./failure.ts";

/** Makes `<name>.key` (0600) and `<name>.pub` in `folder`. Touches nothing when either is there already. */
export function makeKeyPair(
  folder: string,
  name: string,
): { readonly publicKey: string; readonly publicFile: string } {
  const privateFile = join(folder, `${name}.key`);
  const publicFile = join(folder, `${name}.pub`);
  for (const file of [privateFile, publicFile]) {
    if (existsSync(file)) {
      throw new Failure(
        `${file} exists already and is not overwritten; what it signed would be lost`,
      );
    }
  }
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch {
    throw new Failure(`cannot make the folder ${folder}; choose another with --out`);
  }
  const privateKey = generatePrivateKey();
  const publicKey = publicKeyOf(privateKey);
  writePrivateKey(privateFile, privateKey);
  writePublicKey(publicFile, publicKey);
  return { publicKey, publicFile };
}
