/**
 * Who belongs to an etcd cluster: asked and changed through etcd's JSON gateway, a few calls in a cluster's life.
 */
import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { EtcdTlsFiles } from "./etcd-certificates.ts";

interface ListedMember {
  readonly ID: string;
  /** Absent until it was started once. */
  readonly name?: string;
  readonly peerURLs: readonly string[];
}

const CALL_MS_MAX = 3_000;
const ANSWER_BYTES_MAX = 1024 * 1024;

export class EtcdGateway {
  readonly #tls: EtcdTlsFiles;

  constructor(tls: EtcdTlsFiles) {
    this.#tls = tls;
  }

  /** Null: this member does not answer, or knows no leader. */
  async leaderKnownAt(url: string): Promise<boolean> {
    const answer = await this.#call<{ leader?: string }>(url, "maintenance/status", {});
    return (answer?.leader ?? "0") !== "0";
  }

  /** As the first of these members says that answers; null when none does. */
  async members(urls: readonly string[]): Promise<readonly ListedMember[] | null> {
    for (const url of urls) {
      const answer = await this.#call<{ members?: ListedMember[] }>(url, "cluster/member/list", {});
      if (answer?.members !== undefined) return answer.members;
    }
    return null;
  }

  async remove(urls: readonly string[], id: string): Promise<boolean> {
    return this.#any(urls, "cluster/member/remove", { ID: id });
  }

  async add(urls: readonly string[], peerUrl: string): Promise<boolean> {
    return this.#any(urls, "cluster/member/add", { peerURLs: [peerUrl] });
  }

  async #any(urls: readonly string[], path: string, body: object): Promise<boolean> {
    for (const url of urls) {
      if ((await this.#call(url, path, body)) !== null) return true;
    }
    return false;
  }

  #call<T>(url: string, path: string, body: object): Promise<T | null> {
    const secure = url.startsWith("https:");
    const options = {
      method: "POST",
      headers: { "content-type": "application/json" },
      signal: AbortSignal.timeout(CALL_MS_MAX),
    };
    return new Promise((resolve) => {
      const request = secure
        ? httpsRequest(`${url}/v3/${path}`, { ...options, ...this.#files() })
        : httpRequest(`${url}/v3/${path}`, options);
      // Refused, reset, too late: there is no answer, and the caller asks another member or again.
      request.on("error", () => resolve(null));
      request.on("response", (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => {
          text += chunk.toString();
          if (text.length > ANSWER_BYTES_MAX) response.destroy();
        });
        response.on("close", () =>
          resolve(response.statusCode === 200 ? (parsed(text) as T | null) : null),
        );
      });
      request.end(JSON.stringify(body));
    });
  }

  #files() {
    const { ca, cert, key } = this.#tls;
    return {
      ...(ca === undefined ? {} : { ca: readFileSync(ca) }),
      ...(cert === undefined ? {} : { cert: readFileSync(cert) }),
      ...(key === undefined ? {} : { key: readFileSync(key) }),
    };
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Cut off in the middle.
    return null;
  }
}
