import { log } from "@temporalio/activity";
import type { Client } from "@temporalio/client";
import { decodeArrayFromPayloads } from "@temporalio/common/lib/internal-non-workflow/index.js";
import { truthOf } from "../../../jobs/ending.ts";
import { initialView, type StoredJob } from "../../../jobs/job.ts";
import { isFinal } from "../../../jobs/states.ts";
import type { Metrics } from "../../../process/metrics.ts";
import { isLatestRun } from "../../../temporal/latestRun.ts";
import type { RenderJobInput } from "../../../workflows/renderJob.ts";
import type { createSignals } from "../../messaging/signals.ts";
import { endedByForce, isJobView } from "./listed.ts";

interface Deps {
  client: Client;
  signals: ReturnType<typeof createSignals>;
  removeInputs: (input: { jobId: string }) => Promise<void>;
  keepRecord: (record: StoredJob) => Promise<void>;
  metrics: Metrics;
}

/** Does for terminated jobs what they could not do at their end: tells their callers, above all. */
export function createTerminatedJobs({ client, signals, removeInputs, keepRecord, metrics }: Deps) {
  return { notifyTerminated };

  async function notifyTerminated(since: number): Promise<number> {
    const query = `WorkflowType = 'renderJob' AND ${endedByForce} AND CloseTime > '${new Date(since).toISOString()}'`;
    let notified = 0;
    for await (const run of client.workflow.list({ query })) {
      if (!(await isLatestRun(client, run))) continue;
      const { workflowId, status, closeTime, memo } = run;
      const input = await inputOf(workflowId);
      if (input === undefined) {
        log.error("a terminated job cannot be read, so that its caller is not told", { workflowId });
        continue;
      }
      const { job } = input;
      await removeInputs({ jobId: job.id });
      const { id: jobId, tenant, notifyUrl: url, metadata, fingerprint } = job;
      const view = truthOf(isJobView(memo?.view) ? memo.view : initialView(job), status.name, closeTime);
      if (memo?.removed !== true) {
        await keepRecord({ view, ...(metadata && { metadata }), ...(fingerprint && { fingerprint }) });
      }
      const { state, error, files, outputPath } = view;
      if (url === undefined || !isFinal(state)) continue;
      const { started } = await signals.startWebhook({
        jobId,
        tenant,
        url,
        ending: { state, ...(error !== undefined && { error }) },
        ...(metadata && { metadata }),
        ...(state === "success" && { result: { files, ...(outputPath !== undefined && { outputPath }) } }),
      });
      if (!started) continue;
      metrics.jobTerminated();
      notified += 1;
    }
    return notified;
  }

  /** Undefined when it was encrypted with a key that is not here. */
  async function inputOf(workflowId: string): Promise<RenderJobInput | undefined> {
    const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
    const payloads = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads;
    const [input] = await decodeArrayFromPayloads(client.options.loadedDataConverter, payloads);
    return isRenderJobInput(input) ? input : undefined;
  }
}

function isRenderJobInput(value: unknown): value is RenderJobInput {
  return typeof value === "object" && value !== null && "job" in value;
}
