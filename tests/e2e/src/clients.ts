/** Programs that use the SDK within the test's process, recorded. */
import { type CheckoutOptions, nodeClient, type QuorateClient } from "@quorate/client/node";
import type { TestContext } from "vitest";
import { Recorder, type Heard } from "./recorder.ts";
import type { Pool } from "./pool.ts";
import { waitFor } from "./wait.ts";

export class Clients {
  readonly recorder: Recorder;
  readonly #pool: Pool;
  readonly #clients = new Map<string, QuorateClient>();

  constructor(context: TestContext, pool: Pool, recorder = new Recorder(pool.seats)) {
    this.#pool = pool;
    this.recorder = recorder;
    context.onTestFinished(async () => {
      // The servers may be gone already: nobody waits for their answers.
      await Promise.all([...this.#clients.values()].map((client) => client.close()));
    });
  }

  /** The SDK's client that asks these members in this order and knows no other from the start. */
  at(...ids: readonly string[]): QuorateClient {
    return this.atUrls(ids.join(), ...this.#pool.urls(...ids));
  }

  /** The client of this name, at any URLs. */
  atUrls(key: string, ...servers: readonly string[]): QuorateClient {
    const known = this.#clients.get(key);
    if (known !== undefined) return known;
    const client = nodeClient({
      servers,
      vendorKey: this.#pool.vendorPublicKey,
      releaseOnExit: false,
    });
    this.#clients.set(key, client);
    return client;
  }

  /** One seat, asked first at the first of `ids`. */
  async take(ids: readonly string[], more: Partial<CheckoutOptions> = {}): Promise<Heard> {
    const authorization = await this.at(...ids).checkout({ feature: "cad", ...more });
    return this.recorder.watch(authorization);
  }

  /** `count` programs with one seat each. */
  takeMany(count: number, ids: readonly string[]): Promise<Heard[]> {
    return Promise.all(Array.from({ length: count }, () => this.take(ids)));
  }

  release(...heard: readonly Heard[]): Promise<void[]> {
    return Promise.all(heard.map(({ authorization }) => this.recorder.release(authorization)));
  }

  /** Every one of them was renewed `times` more from now on. */
  async renewedAgain(heard: readonly Heard[], times = 1): Promise<void> {
    const before = new Map(heard.map((each) => [each, each.renewals]));
    await waitFor(
      `${times} more heartbeats of ${heard.length} clients`,
      () => heard.every((each) => each.renewals >= (before.get(each) ?? 0) + times),
      times * 15_000,
    );
  }

  /** Every word of a loss that any program heard. */
  get lost(): readonly string[] {
    return this.recorder.all.flatMap(({ lost }) => lost);
  }
}

export function sessionsOf(heard: readonly Heard[]): string[] {
  return heard.map(({ authorization }) => authorization.session);
}
