import { Hono } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import type { Config } from "../config/index.ts";
import type { ApiDeps, ApiEnv } from "./context.ts";
import { createReadPool, createReadProvider } from "./gpus/poolStatus.ts";
import { createQueueReports } from "./gpus/queueReports.ts";
import { errorResponse, HttpError } from "./http/errors.ts";
import { reportingStore } from "./http/storeErrors.ts";
import { createJobReader } from "./jobs/jobReader.ts";
import { createWatchJob } from "./jobs/jobWatch.ts";
import { BASE_PATHS } from "./jobs/links.ts";
import { accessLog } from "./middleware/accessLog.ts";
import { authenticate } from "./middleware/authentication.ts";
import { crossOrigin } from "./middleware/crossOrigin.ts";
import { localOnly } from "./middleware/localOnly.ts";
import { limitOpenRequests } from "./middleware/openRequests.ts";
import { limitReads } from "./middleware/rateLimit.ts";
import { unreadBody } from "./middleware/unreadBody.ts";
import { codecRoutes } from "./routes/codec.ts";
import { dashboardRoutes } from "./routes/dashboard.ts";
import { deliveryRoutes } from "./routes/deliveries.ts";
import { docsRoutes } from "./routes/docs.ts";
import { eventRoutes } from "./routes/events.ts";
import { fileRoutes } from "./routes/files.ts";
import { gpuRoutes } from "./routes/gpus.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { operationsRoutes } from "./routes/operations.ts";
import { poolRoutes } from "./routes/pools.ts";
import { resultRoutes } from "./routes/result.ts";
import { submissionRoutes } from "./routes/submissions.ts";
import { versionRoutes } from "./routes/versions.ts";

const HALF_A_YEAR = "max-age=15552000";

/** Whether callers come by TLS: to this process, or to a proxy before it. Otherwise they must not be told to. */
function isEncrypted({ api: { tls, publicUrl } }: Config): boolean {
  return tls !== undefined || publicUrl?.startsWith("https:") === true;
}

/** The HTTP API, built and not listening. */
export function createApp(given: ApiDeps): Hono<ApiEnv> {
  const deps = { ...given, store: reportingStore(given.store) };
  const { log, metrics } = deps;
  const reports = createQueueReports(deps);
  const readPool = createReadPool(deps, reports);
  const jobs = createJobReader(deps);
  const watchJob = createWatchJob(deps, jobs.readNow);
  // Under a base path, `/` ends with a slash, too.
  const app = new Hono<ApiEnv>({ strict: false });
  const mount = (routes: Hono<ApiEnv>) => {
    for (const path of BASE_PATHS) app.route(path, routes);
  };
  const refuse = (status: 404 | 405, code: string, message: string, headers: Record<string, string> = {}) =>
    new HttpError(status, code, message, { headers });

  app.onError((error, c) => errorResponse(error, c, log));
  app.notFound((c) => errorResponse(refuse(404, "route_not_found", "There is no such route"), c, log));

  app.use(requestId());
  app.use(accessLog(log, metrics));
  app.use(unreadBody());
  // A handler may set its own: a file is meant to be embedded in other sites.
  app.use(
    secureHeaders({
      contentSecurityPolicy: { defaultSrc: ["'none'"] },
      strictTransportSecurity: isEncrypted(deps.config) && HALF_A_YEAR,
      overwrite: false,
    }),
  );
  app.use(localOnly(deps.config));
  app.use(crossOrigin(deps.config));
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) => {
        const message = `${c.req.method} is not allowed here`;
        return errorResponse(refuse(405, "method_not_allowed", message, { Allow: methods.join(", ") }), c, log);
      },
    }),
  );

  mount(operationsRoutes(deps, createReadProvider(deps, readPool)));
  mount(fileRoutes(deps));
  mount(docsRoutes(deps));
  mount(dashboardRoutes(deps));

  // Whatever is mounted from here on needs a key.
  app.use(authenticate(deps));
  app.use(limitOpenRequests(deps));
  mount(submissionRoutes(deps, reports, jobs, watchJob));

  // Submissions have a limit of their own, and were answered above.
  app.use(limitReads(deps));
  mount(jobRoutes(deps, jobs, readPool));
  mount(eventRoutes(deps, jobs, watchJob));
  mount(resultRoutes(deps, jobs));
  mount(deliveryRoutes(deps, jobs));
  mount(gpuRoutes(deps));
  mount(versionRoutes(deps));
  mount(poolRoutes(deps, readPool));
  if (deps.config.temporal.payloadKeys.length > 0) mount(codecRoutes(deps));
  return app;
}
