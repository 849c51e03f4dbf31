import type { Context } from "hono";
import type { JobUsage, JobView } from "../../jobs/job.ts";
import type { JobState } from "../../jobs/states.ts";
import { nameOf } from "../../storage/endedJob.ts";
import { ObjectNotFound } from "../../storage/objectStore.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { linkTo, resultOfView } from "./jobResult.ts";
import type { JobReading } from "./readJob.ts";

/** The words of the lip-sync API for the states of its jobs. */
const lipsyncWords: Record<JobState, "submitted" | "running" | "succeeded" | "failed"> = {
  queued: "submitted",
  running: "running",
  success: "succeeded",
  failed: "failed",
  timed_out: "failed",
  cancelled: "failed",
};

/** GPU-seconds, and money when the rate is known. */
function costOf({ bootMs, idleMs, busyMs, cost }: JobUsage) {
  const seconds = (ms: number) => Math.round(ms) / 1000;
  return {
    gpu_seconds: {
      boot: seconds(bootMs),
      idle: seconds(idleMs),
      busy: seconds(busyMs),
      total: seconds(bootMs + idleMs + busyMs),
    },
    amount: cost,
  };
}

/** The part of the document that a list shows, too. */
export function jobSummary({ view, metadata }: JobReading) {
  return {
    id: view.id,
    type: view.type,
    tenant: view.tenant,
    status: view.state,
    stage: view.stage,
    error: view.error,
    created_at: view.createdAt,
    started_at: view.startedAt,
    finished_at: view.finishedAt,
    complete_by: view.completeBy,
    max_time: view.maxTimeSeconds,
    metadata,
  };
}

/** Everything that is known of a job, as `GET /jobs/{id}` gives it. */
export async function jobDocument(c: Context<ApiEnv>, deps: Pick<ApiDeps, "store" | "config">, reading: JobReading) {
  const { view, progress } = reading;
  const files = await Promise.all(
    view.files.map(async (file) => ({
      name: nameOf(file.key),
      url: await linkTo(c, deps, file),
      mime_type: file.mimeType,
      bytes: file.bytes,
    })),
  );
  const lipsync = view.type === "lipsync" && {
    job_id: view.id,
    status: lipsyncWords[view.state],
    state: view.state,
    output_path: view.outputPath ?? view.files[0]?.key,
  };
  const cost = view.usage && costOf(view.usage);
  return {
    ...jobSummary(reading),
    ...lipsync,
    progress,
    attempts: view.attempts,
    gpu: view.gpu && { ...view.gpu, seconds: cost?.gpu_seconds.busy },
    cost,
    result: await resultIfKept(c, deps, view),
    files,
    timeline: view.timeline.map(({ state, ...entry }) => ({ ...entry, status: state })),
  };
}

/** The files of a job may have been removed before what is known of it. */
async function resultIfKept(c: Context<ApiEnv>, deps: Pick<ApiDeps, "store" | "config">, view: JobView) {
  if (view.state !== "success") return undefined;
  try {
    return await resultOfView(c, deps, view);
  } catch (error) {
    if (error instanceof ObjectNotFound) return undefined;
    throw error;
  }
}
