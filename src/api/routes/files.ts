import { Hono } from "hono";
import type { ApiDeps, ApiEnv } from "../context.ts";
export function fileRoutes(_deps: ApiDeps) {
  return new Hono<ApiEnv>();
}
