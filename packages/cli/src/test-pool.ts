/** A pool of three `quorate serve` processes for tests, complete when a test begins. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DemoFolder, makeDemoFolder } from "./demo/demo-folder.ts";
import { DemoServers } from "./demo/demo-servers.ts";
import type { PoolPicture } from "./pool-picture.ts";
import { lookAtPool } from "./pool-picture.ts";
import { type Run, runCommand, TestCommand, until } from "./test-command.ts";

export class TestPool {
  readonly folder: DemoFolder;
  readonly servers: DemoServers;
  readonly urls: readonly string[];
  /** What a command needs to find this pool and nothing else. */
  readonly env: Readonly<Record<string, string>>;

  private constructor(root: string, folder: DemoFolder, servers: DemoServers) {
    this.folder = folder;
    this.servers = servers;
    this.urls = folder.servers.map(({ url }) => url);
    this.env = {
      QUORATE_SERVERS: this.urls.join(","),
      QUORATE_STATE: join(root, "state"),
      QUORATE_ADMIN_TOKEN_FILE: folder.tokenFile,
    };
  }

  /** `words` go to every server's command line; `root` is the caller's, who removes it. */
  static async start(
    root: string,
    leaseMs: number,
    words: readonly string[] = [],
  ): Promise<TestPool> {
    const made = await makeDemoFolder(join(root, "pool"), 0, leaseMs);
    const folder = {
      ...made,
      servers: made.servers.map((server) => ({ ...server, words: [...server.words, ...words] })),
    };
    const pool = new TestPool(root, folder, new DemoServers(folder, () => undefined));
    try {
      await pool.servers.ready();
      await pool.untilComplete();
    } catch (error) {
      await pool.stop();
      throw error;
    }
    return pool;
  }

  look(): Promise<PoolPicture> {
    return lookAtPool(this.urls);
  }

  /** Every server is up, has its share of every feature and has told the leader what it granted. */
  async untilComplete(): Promise<void> {
    let last: PoolPicture | null = null;
    await until(
      async () => {
        last = await this.look();
        return isComplete(last, this.urls.length) ? true : null;
      },
      () => `a complete pool; it is ${JSON.stringify(last)}`,
    );
  }

  async untilInUse(feature: string, seats: number): Promise<void> {
    await until(
      async () => {
        const { features } = await this.look();
        return features.find(({ name }) => name === feature)?.inUse === seats ? true : null;
      },
      () => `${seats} seats of ${feature} in use`,
    );
  }

  run(...words: readonly string[]): Promise<Run> {
    return runCommand(words, this.env);
  }

  begin(...words: readonly string[]): TestCommand {
    return new TestCommand(words, this.env);
  }

  async stop(): Promise<void> {
    this.servers.kill();
    await this.servers.stop();
  }
}

export function newTestFolder(name: string): { readonly root: string; remove(): void } {
  const root = mkdtempSync(join(tmpdir(), `quorate-${name}-`));
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) };
}

function isComplete(pool: PoolPicture, servers: number): boolean {
  return (
    pool.leader !== null &&
    pool.majority.alive === servers &&
    pool.missing.length === 0 &&
    pool.features.length > 0 &&
    pool.servers.every(({ state }) => state === "up") &&
    pool.features.every(({ members }) => Object.keys(members).length === servers)
  );
}
