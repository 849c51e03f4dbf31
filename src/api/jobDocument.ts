import type { Context } from "hono";
import type { JobUsage } from "../jobs/job.ts";
import type { JobState } from "../jobs/states.ts";
import type { ApiDeps, ApiEnv } from "./context.ts";
import { linkTo, nameOf, type ResultBody, resultOf } from "./jobResult.ts";
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

/** Everything that is known of a job, as `GET /jobs/{id}` gives it. */
export async function jobDocument(c: Context<ApiEnv>, deps: Pick<ApiDeps, "store" | "config">, reading: JobReading) {
  const { view, progress, metadata } = reading;
  const result: ResultBody | undefined = view.state === "success" ? await resultOf(c, deps, view) : undefined;
  const files = await Promise.all(
    view.files.map(async (file) => ({
      name: nameOf(file.key),
      url: await linkTo(c, deps, file),
      mime_type: file.mimeType,
      bytes: file.bytes,
    })),
  );
  const words =
    view.type === "lipsync"
      ? {
          job_id: view.id,
          status: lipsyncWords[view.state],
          state: view.state,
          output_path: view.outputPath ?? view.files[0]?.key,
        }
      : { status: view.state };
  return {
    id: view.id,
    type: view.type,
    ...words,
    stage: view.stage,
    progress,
    error: view.error,
    created_at: view.createdAt,
    started_at: view.startedAt,
    finished_at: view.finishedAt,
    complete_by: view.completeBy,
    max_time: view.maxTimeSeconds,
    attempts: view.attempts,
    gpu: view.gpu,
    cost: view.usage && costOf(view.usage),
    result,
    files,
    metadata,
    timeline: view.timeline,
  };
}
