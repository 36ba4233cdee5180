/** The signature of a webhook as standardwebhooks.com has it, so that receivers find a library for it. */
import { createHmac } from "node:crypto";

const PREFIX = "whsec_";
/** A shorter secret is guessed. */
const SECRET_BYTES_MIN = 16;

/** The key in the text of a secret file: `whsec_` and base64, or any other text as it is. Null: too short. */
export function webhookKeyOf(text: string): Buffer | null {
  const secret = text.trim();
  const key = secret.startsWith(PREFIX)
    ? Buffer.from(secret.slice(PREFIX.length), "base64")
    : Buffer.from(secret, "utf8");
  return key.length < SECRET_BYTES_MIN ? null : key;
}

/** The time is under the signature, so that an old message cannot be sent again much later. */
export function signatureHeaders(
  key: Buffer,
  id: string,
  atSeconds: number,
  body: string,
): Record<string, string> {
  const mac = createHmac("sha256", key).update(`${id}.${atSeconds}.${body}`).digest("base64");
  return {
    "webhook-id": id,
    "webhook-timestamp": String(atSeconds),
    "webhook-signature": `v1,${mac}`,
  };
}
