/** What an answer is written to: a response of node:http, or a connection of the quick lane. */
export interface Reply {
  readonly headersSent: boolean;
  /** `headers` is a flat list of names and values. */
  writeHead(status: number, headers: string[]): unknown;
  end(text?: string, encoding?: BufferEncoding): unknown;
  destroy(): unknown;
}
