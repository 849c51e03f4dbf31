import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What is answered instead, and may go on for ever. @returns when all of it was written, or nobody reads any more */
export type Answer = (response: ServerResponse, request: IncomingMessage) => void | Promise<void>;

/** A server between a client and another one, which answers some of the requests itself. */
export async function startTamperer(target: string) {
  const answers = new Map<string, Answer>();
  let sent = 0;
  const server = createServer((incoming, response) => {
    const path = incoming.url?.split("?")[0] ?? "";
    const [, answer] = [...answers].find(([end]) => path.endsWith(end)) ?? [];
    if (answer !== undefined) {
      incoming.resume();
      response.on("close", () => {
        sent += response.socket?.bytesWritten ?? 0;
      });
      void answer(response, incoming);
      return;
    }
    // With the host it was asked for, which a request to S3 signs.
    const { method, headers } = incoming;
    const forwarded = request(`${target}${incoming.url}`, { method, headers }, (answered) => {
      response.writeHead(answered.statusCode ?? 502, answered.headers);
      answered.pipe(response);
    });
    forwarded.on("error", () => response.destroy());
    response.on("close", () => forwarded.destroy());
    incoming.pipe(forwarded);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Answers requests whose path ends so; without a path, none any more. */
    instead(path?: string, answer?: Answer) {
      answers.clear();
      sent = 0;
      if (path !== undefined && answer !== undefined) answers.set(path, answer);
    },
    /** Bytes that were written in answers of its own. */
    sent: () => sent,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** Writes `start` and then `piece` for as long as somebody reads. */
export async function withoutEnd(response: ServerResponse, piece: string, start = ""): Promise<void> {
  response.write(start);
  const buffer = Buffer.from(piece.repeat(Math.ceil(65_536 / piece.length)));
  while (!response.destroyed) {
    if (!response.write(buffer)) await Promise.race([once(response, "drain"), once(response, "close")]);
    else await new Promise(setImmediate);
  }
}
