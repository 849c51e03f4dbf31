import { fileURLToPath } from "node:url";
import { serveStatic } from "@hono/node-server/serve-static";
import { Hono } from "hono";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { dashboardPage } from "../dashboard/page.ts";
import { HttpError } from "../http/errors.ts";
import { ownFilesOnly, servePage } from "../http/page.ts";

/** The browser itself refuses to make markup of a text: much of what is shown was written by callers. */
const CONTENT_SECURITY_POLICY = ownFilesOnly(
  "img-src data:",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
);

const assets = new Set([
  "dashboard.css",
  "api.js",
  "dom.js",
  "format.js",
  "gpus.js",
  "job.js",
  "jobs.js",
  "main.js",
  "pools.js",
]);

/** The operator's page. It holds no data, so it is open; what it shows it asks the API for, with a key. */
export function dashboardRoutes({ config: { temporal } }: Pick<ApiDeps, "config">) {
  const root = fileURLToPath(new URL("../dashboard", import.meta.url));
  const serveAsset = serveStatic<ApiEnv>({ root, rewriteRequestPath: (path) => path.slice(path.lastIndexOf("/")) });
  return new Hono<ApiEnv>()
    .get("/dashboard", servePage("dashboard", dashboardPage(temporal), CONTENT_SECURITY_POLICY))
    .get("/dashboard/:file", async (c, next) => {
      if (!assets.has(c.req.param("file"))) throw new HttpError(404, "file_not_found", "File not found");
      return await serveAsset(c, next);
    });
}
