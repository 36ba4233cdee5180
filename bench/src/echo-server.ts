/** The limit: a bare `node:http` server that sends every body back. Program; tells its port once. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const server = createServer({ noDelay: true, keepAliveTimeout: 60_000 }, (request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
    response.writeHead(200, [
      "Content-Type",
      "application/json",
      "Content-Length",
      String(body.length),
    ]);
    response.end(body);
  });
});
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("disconnect", () => process.exit());
