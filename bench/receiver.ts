import { once } from "node:events";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { z } from "zod";
import { within } from "./children.ts";

export interface Receiver {
  origin: string;
  url: string;
  /**
   * When (in `performance.now()`) the webhook of a job arrived.
   * @throws BenchError when it does not
   */
  untilReceived(id: string): Promise<number>;
  /** How many jobs did not succeed, by what was told of them. */
  failures(): Map<string, number>;
  close(): Promise<void>;
}

const PATIENCE_MS = 120_000;
const body = z.object({ id: z.string(), status: z.string(), error: z.string().optional() });

/** A webhook receiver that remembers when it was told of which job. */
export async function startReceiver(patienceMs = PATIENCE_MS): Promise<Receiver> {
  const arrivals = new Map<string, number>();
  const waiting = new Map<string, (at: number) => void>();
  const failures = new Map<string, number>();
  const server = createServer(async (request, response) => {
    const at = performance.now();
    const told = readBody(await text(request));
    response.writeHead(told === undefined ? 400 : 200).end();
    if (told === undefined || arrivals.has(told.id)) return;
    const { id, status, error = "" } = told;
    if (status !== "success") failures.set(`${status}: ${error}`, (failures.get(`${status}: ${error}`) ?? 0) + 1);
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
    failures: () => failures,
    async untilReceived(id) {
      const known = arrivals.get(id);
      if (known !== undefined) return known;
      const arrival = new Promise<number>((resolve) => waiting.set(id, resolve));
      return await within(arrival, patienceMs, `Nobody was told of job ${id} within ${patienceMs / 1000} s.`);
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function readBody(sent: string): z.output<typeof body> | undefined {
  try {
    return body.parse(JSON.parse(sent));
  } catch {
    return undefined;
  }
}
