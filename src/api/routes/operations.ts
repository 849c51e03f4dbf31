import { Hono } from "hono";
import { providerSentences } from "../../gpus/provider.ts";
import type { ProviderStatus } from "../../gpus/types.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import type { ProviderLook, ReadProvider } from "../gpus/poolStatus.ts";
import { unavailable } from "../http/errors.ts";
import { isYes } from "../http/flags.ts";
import { createReadiness } from "../service/readiness.ts";

/** How the service is; open to everybody. */
export function operationsRoutes(deps: ApiDeps, readProvider: ReadProvider) {
  const whatIsMissing = createReadiness(deps);
  return new Hono<ApiEnv>()
    .get("/", (c) => c.json({ status: "C3 Render API is running", timestamp: new Date().toISOString() }))
    .get("/healthz", (c) => c.json({ status: "ok" }))
    .get("/readyz", async (c) => {
      const [found, look] = await Promise.all([whatIsMissing(), readProvider()]);
      const trouble = look.isKnown ? look.trouble : undefined;
      const provider = trouble && { provider: providerDocument(trouble) };
      // Jobs are taken and kept without a provider; whoever wants to know whether they would be done asks strictly.
      const missing = isYes(c.req.query("strict")) ? [...found, ...troubleOf(look)] : found;
      if (missing.length > 0) {
        throw unavailable("not_ready", `Not ready: ${missing.join("; ")}`, { body: { missing, ...provider } });
      }
      return c.json({ status: "ok", ...provider });
    });
}

function troubleOf(look: ProviderLook): string[] {
  if (!look.isKnown) return ["it is not known whether the GPU provider gives instances"];
  return look.trouble === undefined ? [] : [providerSentences[look.trouble.state]];
}

/** Anybody may ask, so it says nothing of what the provider said. */
function providerDocument({ state, since }: ProviderStatus) {
  return { state, message: providerSentences[state], since: new Date(since).toISOString() };
}
