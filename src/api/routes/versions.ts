import { status } from "@grpc/grpc-js";
import { isGrpcServiceError } from "@temporalio/client";
import { Hono } from "hono";
import { z } from "zod";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { readBody } from "../http/body.ts";
import { HttpError } from "../http/errors.ts";
import { outcomeUnknown, settled } from "../http/settled.ts";
import { adminOnly } from "../middleware/adminOnly.ts";
import { makeCurrent, readVersions, type WorkerVersions } from "../service/versions.ts";

/** The body of `POST /versions/current`. */
export const makeCurrentSchema = z.object({
  version: z.string().min(1).max(200).nullable().describe("null: workers need no version from now on"),
});

/** The versions of the workers, with Worker Versioning: which one new jobs begin on, and which may be switched off. */
export function versionRoutes({ client, config }: Pick<ApiDeps, "client" | "config">) {
  return new Hono<ApiEnv>()
    .use("/versions/*", adminOnly)
    .get("/versions", async (c) => c.json(documentOf(await readVersions(client))))
    .post("/versions/current", async (c) => {
      const { version } = await readBody(c, makeCurrentSchema, config.api);
      const found = await readVersions(client);
      if (found === undefined || (version !== null && !found.versions.some(({ id }) => id === version)))
        throw notFound();
      try {
        const change = () => makeCurrent(client, version, found.conflictToken);
        await settled(client, change, outcomeUnknown(`${version ?? "no version"} is current`));
      } catch (error) {
        if (isGrpcServiceError(error) && error.code === status.NOT_FOUND) throw notFound();
        if (isGrpcServiceError(error) && error.code === status.FAILED_PRECONDITION) throw notReady(version, error);
        throw error;
      }
      return c.json(documentOf(await readVersions(client)));
    });
}

function notFound(): HttpError {
  return new HttpError(404, "version_not_found", "No worker has announced this version");
}

function notReady(version: string | null, cause: Error): HttpError {
  const message = `${version ?? "None"} cannot be made current: its workers do not poll every task queue, or somebody else has made another one current just now`;
  return new HttpError(409, "version_not_ready", message, { cause });
}

function documentOf(found: WorkerVersions | undefined) {
  return {
    current: found?.current ?? null,
    versions: (found?.versions ?? []).map(({ id, status, currentAt }) => ({
      id,
      status,
      ...(currentAt !== undefined && { current_at: new Date(currentAt).toISOString() }),
    })),
  };
}
