import { createRequire } from "node:module";
import { dirname } from "node:path";
import { serveStatic } from "@hono/node-server/serve-static";
import { Hono } from "hono";
import { html } from "hono/html";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../http/errors.ts";
import { ownFilesOnly, servePage } from "../http/page.ts";
import { baseUrlOf } from "../jobs/links.ts";
import { openApiDocument } from "../openapi/document.ts";
import { servesLinks } from "./files.ts";

/** The small pictures are inside of the style sheet. */
const CONTENT_SECURITY_POLICY = ownFilesOnly("img-src 'self' data:");

/** The links are relative: the page is served under each base path, and perhaps under another one by a proxy. */
const page = html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>c3-render</title>
    <link rel="stylesheet" href="docs/swagger-ui.css" />
    <link rel="icon" href="docs/favicon-32x32.png" />
  </head>
  <body>
    <div id="page"></div>
    <script src="docs/swagger-ui-bundle.js"></script>
    <script src="docs/start.js"></script>
  </body>
</html>`;

const assets = new Set(["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"]);

const start = `SwaggerUIBundle({ url: "openapi.json", dom_id: "#page", deepLinking: true, tryItOutEnabled: true });`;

/** What the API can do, for programs and for people; open to everybody. */
export function docsRoutes({ config, store }: Pick<ApiDeps, "config" | "store">) {
  const document = openApiDocument(config, { servesFiles: servesLinks(store) });
  const require = createRequire(import.meta.url);
  const root = dirname(require.resolve("swagger-ui-dist/package.json"));
  const serveAsset = serveStatic<ApiEnv>({ root, rewriteRequestPath: (path) => path.slice(path.lastIndexOf("/")) });
  return new Hono<ApiEnv>()
    .get("/openapi.json", (c) => {
      const basePath = c.req.path.replace(/\/openapi\.json\/?$/, "");
      // Absolute: what is written from a file that was downloaded does not know where that was.
      return c.json({ ...document, servers: [{ url: `${baseUrlOf(c, config.api)}${basePath}` }] });
    })
    .get("/docs", servePage("docs", page, CONTENT_SECURITY_POLICY))
    .get("/docs/:file", async (c, next) => {
      const file = c.req.param("file");
      if (file === "start.js") return c.body(start, 200, { "Content-Type": "text/javascript" });
      if (!assets.has(file)) throw new HttpError(404, "file_not_found", "File not found");
      return await serveAsset(c, next);
    });
}
