import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { text } from "node:stream/consumers";
import { z } from "zod";

/** Receivers of webhooks, in a process of their own: so many that answer at once, and so many that never do. */
const [well = 0, hanging = 0] = process.argv.slice(2).map(Number);
const body = z.object({ id: z.string() });

const answer: RequestListener = async (request, response) => {
  const { id } = body.parse(JSON.parse(await text(request)));
  response.end();
  if (request.url === "/told") process.send?.(id);
};
const hang: RequestListener = (request) => void request.resume();

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a receiver is not listening on a port");
  return `http://127.0.0.1:${address.port}`;
}

const many = (count: number, listener: RequestListener) =>
  Promise.all(Array.from({ length: count }, () => listen(listener)));
process.send?.({ well: await many(well, answer), hanging: await many(hanging, hang) });
process.once("disconnect", () => process.exit());
