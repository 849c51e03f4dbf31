import { Hono } from "hono";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { unavailable } from "../errors.ts";
import { createReadiness } from "../readiness.ts";

/** How the service is; open to everybody. */
export function operationsRoutes(deps: ApiDeps) {
  const whatIsMissing = createReadiness(deps);
  return new Hono<ApiEnv>()
    .get("/", (c) => c.json({ status: "C3 Render API is running", timestamp: new Date().toISOString() }))
    .get("/healthz", (c) => c.json({ status: "ok" }))
    .get("/readyz", async (c) => {
      const missing = await whatIsMissing();
      if (missing.length > 0) throw unavailable("not_ready", `Not ready: ${missing.join("; ")}`, { missing });
      return c.json({ status: "ok" });
    });
}
