/** The token that this process shows to servers, if it was given one. */
import { tokenIn } from "./servers.ts";

let token: string | null = null;

/** Throws `Failure` when the file holds none. */
export function useTokenFile(file: string): void {
  token = tokenIn(file);
}

export function ownToken(): string | null {
  return token;
}
