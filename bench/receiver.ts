import { once } from "node:events";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { z } from "zod";

export interface Receiver {
  origin: string;
  url: string;
  /** When (in `performance.now()`) the webhook of a job arrived. */
  untilReceived(id: string): Promise<number>;
  close(): Promise<void>;
}

const body = z.object({ id: z.string() });

/** A webhook receiver that remembers when it was told of which job. */
export async function startReceiver(): Promise<Receiver> {
  const arrivals = new Map<string, number>();
  const waiting = new Map<string, (at: number) => void>();
  const server = createServer(async (request, response) => {
    const at = performance.now();
    const { id } = body.parse(JSON.parse(await text(request)));
    response.end();
    arrivals.set(id, at);
    waiting.get(id)?.(at);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the receiver is not listening on a port");
  const origin = `http://127.0.0.1:${address.port}`;
  return {
    origin,
    url: `${origin}/hook`,
    untilReceived(id) {
      const known = arrivals.get(id);
      if (known !== undefined) return Promise.resolve(known);
      return new Promise((resolve) => waiting.set(id, resolve));
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
