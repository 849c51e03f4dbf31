import type { MiddlewareHandler } from "hono";
import type { ApiEnv } from "../context.ts";
import { HttpError } from "../http/errors.ts";

/** @throws HttpError 403 for callers that do not operate the service */
export const adminOnly: MiddlewareHandler<ApiEnv> = async (c, next) => {
  if (!c.var.caller.admin) throw new HttpError(403, "admin_required", "This needs a key of an administrator");
  await next();
};
