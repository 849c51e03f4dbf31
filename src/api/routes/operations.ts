import { Hono } from "hono";
import { providerSentences } from "../../gpus/provider.ts";
import type { ProviderStatus } from "../../gpus/types.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { unavailable } from "../errors.ts";
import { isYes } from "../flags.ts";
import type { ReadProvider } from "../poolStatus.ts";
import { createReadiness } from "../readiness.ts";

/** How the service is; open to everybody. */
export function operationsRoutes(deps: ApiDeps, readProvider: ReadProvider) {
  const whatIsMissing = createReadiness(deps);
  return new Hono<ApiEnv>()
    .get("/", (c) => c.json({ status: "C3 Render API is running", timestamp: new Date().toISOString() }))
    .get("/healthz", (c) => c.json({ status: "ok" }))
    .get("/readyz", async (c) => {
      const [missing, trouble] = await Promise.all([whatIsMissing(), readProvider()]);
      const provider = trouble && { provider: providerDocument(trouble) };
      // Jobs are taken and kept without a provider; whoever wants to know whether they would be done asks strictly.
      if (trouble !== undefined && isYes(c.req.query("strict"))) missing.push(providerSentences[trouble.state]);
      if (missing.length > 0) {
        throw unavailable("not_ready", `Not ready: ${missing.join("; ")}`, { missing, ...provider });
      }
      return c.json({ status: "ok", ...provider });
    });
}

/** Anybody may ask, so it says nothing of what the provider said. */
function providerDocument({ state, since }: ProviderStatus) {
  return { state, message: providerSentences[state], since: new Date(since).toISOString() };
}
