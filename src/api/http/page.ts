import type { Handler } from "hono";
import type { ApiEnv } from "../context.ts";

/** The Content-Security-Policy of a page that is made of our own files only, and of what `more` directives allow. */
export function ownFilesOnly(...more: string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    ...more,
  ].join("; ");
}

/** Serves a page whose links lead into the folder of its own name beside it, so that its address must not end in "/". */
export function servePage(name: string, page: string | Promise<string>, policy: string): Handler<ApiEnv> {
  return (c) => {
    if (new URL(c.req.url).pathname.endsWith("/")) return c.redirect(`../${name}`);
    return c.html(page, 200, { "Content-Security-Policy": policy });
  };
}
