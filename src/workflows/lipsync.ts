import { CancellationScope, log, proxyActivities } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import type { PreparedInput } from "../contracts/activityTypes.ts";
import type { JobEnding, JobResult, JobSpec } from "../jobs/job.ts";
import { failureSentence } from "./failures.ts";
import type { JobRecord } from "./jobRecord.ts";
import { timerMs } from "./wakeTimer.ts";
import { until } from "./withDeadline.ts";

interface LipsyncOptions {
  job: JobSpec;
  record: JobRecord;
  end: (ending: JobEnding) => void;
}

const REPORT_MS = 15_000;

/** A lip-sync job's run on Modal, within `max_time` of the call. */
export async function runLipsync({ job, record, end }: LipsyncOptions, inputs: PreparedInput[]): Promise<JobResult> {
  const startedAt = Date.now();
  const endsAt = startedAt + job.maxTimeSeconds * 1000;
  const { startLipsync, cancelLipsync } = proxyActivities<Activities>({
    startToCloseTimeout: "30s",
    retry: { initialInterval: "1s", maximumInterval: "10s", maximumAttempts: 5 },
    summary: "call the function on Modal",
  });
  const { collectLipsync } = proxyActivities<Activities>({
    startToCloseTimeout: timerMs(endsAt, startedAt) + REPORT_MS,
    scheduleToCloseTimeout: timerMs(endsAt, startedAt) + REPORT_MS,
    heartbeatTimeout: "15s",
    cancellationType: "WAIT_CANCELLATION_COMPLETED",
    retry: { initialInterval: "1s", maximumInterval: "15s" },
    summary: "wait for Modal, and store the video",
  });

  const work = async () => {
    record.update(
      { state: "running", stage: "rendering", startedAt: new Date(startedAt).toISOString() },
      "rendering on Modal",
    );
    // A call whose id is not known could never be cancelled.
    const { callId } = await CancellationScope.nonCancellable(() => startLipsync({ job, inputs }));
    try {
      const { file, outputPath } = await collectLipsync({ job, callId });
      return { files: file === undefined ? [] : [file], ...(outputPath !== undefined && { outputPath }) };
    } catch (error) {
      await CancellationScope.nonCancellable(() => cancelLipsync({ callId })).catch((failure: unknown) =>
        log.warn("the call on Modal could not be cancelled", {
          jobId: job.id,
          callId,
          error: failureSentence(failure),
        }),
      );
      throw error;
    }
  };
  const overrun = `Job exceeded maximum runtime of ${job.maxTimeSeconds} seconds`;
  return await until(endsAt, "max_time", () => end({ state: "failed", error: overrun }), work);
}
