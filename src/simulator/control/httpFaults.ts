import { setTimeout as delay } from "node:timers/promises";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import type { Context, MiddlewareHandler } from "hono";
import type { Simulation, SimulatorEnv } from "../env.ts";
import type { Fault, FaultTarget, Service } from "./faults.ts";
import type { Call } from "./journal.ts";

const HTML_PAGE =
  "<!DOCTYPE html><html><head><title>503 Service Unavailable</title></head><body><h1>Error</h1></body></html>";

/** Records every request of a service, and makes it fail where a fault says so. */
export function faulty({ faults, journal }: Simulation, service: Service): MiddlewareHandler<SimulatorEnv> {
  return async (c, next) => {
    const { path, method } = c.req;
    const node = c.req.param("node");
    const call: Call = { at: Date.now(), service, node, method, path, status: undefined };
    const target: FaultTarget = { service, path, node };
    const slow = faults.take(target, ["delay"]);
    if (slow !== undefined) await delay(slow.delay_ms ?? 1000);
    const refused = faults.take(target, ["status", "html_error", "wrong_mime", "hang", "reset"]);
    const refusal = await refuse(c, refused);
    if (refusal !== undefined) {
      const status = refusal === RESPONSE_ALREADY_SENT ? undefined : refusal.status;
      journal.call({ ...call, status, ...faultOf(refused) });
      return refusal;
    }
    await next();
    const spoilt = faults.take(target, ["drop_reply", "truncate"]);
    const status = spoilt?.action === "drop_reply" ? undefined : c.res.status;
    journal.call({ ...call, status, ...faultOf(spoilt ?? slow) });
    if (spoilt !== undefined) await spoil(c, spoilt.action);
  };
}

const faultOf = (fault: Fault | undefined) => (fault === undefined ? {} : { fault: fault.action });

async function refuse(c: Context<SimulatorEnv>, fault: { action: string; status?: number | undefined } | undefined) {
  switch (fault?.action) {
    case "status":
      return Response.json({ detail: "a fault of the simulator" }, { status: fault.status ?? 503 });
    case "html_error":
      return new Response(HTML_PAGE, { status: fault.status ?? 503, headers: { "Content-Type": "text/html" } });
    case "wrong_mime":
      return new Response(HTML_PAGE, { headers: { "Content-Type": "text/html" } });
    case "reset":
      c.env.incoming.socket.resetAndDestroy();
      return RESPONSE_ALREADY_SENT;
    case "hang":
      await new Promise((resolve) => c.env.incoming.socket.once("close", resolve));
      return RESPONSE_ALREADY_SENT;
    default:
      return undefined;
  }
}

/** The work is done; the answer does not arrive whole. */
async function spoil(c: Context<SimulatorEnv>, action: string): Promise<void> {
  const { incoming, outgoing } = c.env;
  const whole = Buffer.from(await c.res.arrayBuffer());
  if (action === "drop_reply" || outgoing.headersSent) {
    incoming.socket.destroy();
  } else {
    outgoing.writeHead(c.res.status, { ...Object.fromEntries(c.res.headers), "content-length": whole.length });
    outgoing.write(whole.subarray(0, Math.floor(whole.length / 2)), () => incoming.socket.destroy());
  }
  c.res = RESPONSE_ALREADY_SENT;
}
