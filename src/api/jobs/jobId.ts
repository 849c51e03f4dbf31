import type { Context } from "hono";
import { HttpError } from "../http/errors.ts";

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The job id in the path of a request.
 * @throws HttpError 400 for anything but a UUID
 */
export function jobIdOf(c: Context): string {
  const id = c.req.param("id")?.toLowerCase() ?? "";
  if (!uuid.test(id)) throw new HttpError(400, "invalid_job_id", "Invalid job ID format");
  return id;
}
