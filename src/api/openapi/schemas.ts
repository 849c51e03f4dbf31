import { z } from "zod";
import type { Config } from "../../config/index.ts";
import { museTalkVersions } from "../../jobs/kinds/lipsync.ts";
import { whisperModels, whisperTasks } from "../../jobs/kinds/whisper.ts";
import { voiceNames } from "../../jobs/speech.ts";
import { requestableStates } from "../../jobs/states.ts";
import { priorities } from "../../jobs/submission.ts";
import { submissionSchemas } from "../jobs/submissionSchemas.ts";
import { payloadsSchema } from "../routes/codec.ts";
import { replaySchema } from "../routes/deliveries.ts";
import { drainSchema } from "../routes/gpus.ts";
import { markSchema } from "../routes/jobs.ts";
import { resizeSchema } from "../routes/pools.ts";
import { makeCurrentSchema } from "../routes/versions.ts";
import { jobStage, jobState, jobType, metadata, waitingReason } from "./schemas/common.ts";
import { deliveriesSchema, deliverySchema, redeliveredSchema, replayedSchema } from "./schemas/deliveries.ts";
import { errorSchema } from "./schemas/errors.ts";
import {
  drainedSchema,
  gpuSchema,
  gpuState,
  gpusSchema,
  gpuTotalsSchema,
  paidSeconds,
  poolGpuSchema,
  poolLimitsSchema,
  poolProviderSchema,
  poolSchema,
  poolsSchema,
  providerState,
  queuedJobSchema,
  stoppedGpuSchema,
} from "./schemas/gpus.ts";
import {
  acceptedSchema,
  costSchema,
  finalState,
  gpuSecondsSchema,
  jobGpuSchema,
  jobResultSchema,
  jobSchema,
  jobStatus,
  jobSummarySchema,
  jobsSchema,
  lipsyncAcceptedSchema,
  lipsyncResultSchema,
  markedSchema,
  resultSchema,
  statusSchema,
  storedFileSchema,
  timelineEntrySchema,
  webhookSchema,
} from "./schemas/jobs.ts";
import { documentSchema, okSchema, providerSchema, readySchema, runningSchema } from "./schemas/service.ts";
import { versionSchema, versionStatus, versionsSchema } from "./schemas/versions.ts";

/** Every schema of the document, by the name that it has there. Those of requests are the ones that validate. */
export function schemasOf(config: Config) {
  const { csm, whisper, portrait, analyze, lipsync } = submissionSchemas(config);
  return {
    SpeechSubmission: csm,
    TranscriptSubmission: whisper,
    PortraitSubmission: portrait,
    AnalysisSubmission: analyze,
    LipsyncSubmission: lipsync,
    Mark: markSchema,
    Replay: replaySchema,
    Drain: drainSchema,
    Resize: resizeSchema,
    MakeCurrent: makeCurrentSchema,
    Payloads: payloadsSchema,
    Payload: payloadsSchema.shape.payloads.element,
    Accepted: acceptedSchema,
    LipsyncAccepted: lipsyncAcceptedSchema,
    Status: statusSchema,
    Result: resultSchema,
    LipsyncResult: lipsyncResultSchema,
    Job: jobSchema,
    JobSummary: jobSummarySchema,
    Jobs: jobsSchema,
    JobResult: jobResultSchema,
    JobGpu: jobGpuSchema,
    Cost: costSchema,
    GpuSeconds: gpuSecondsSchema,
    StoredFile: storedFileSchema,
    TimelineEntry: timelineEntrySchema,
    Metadata: metadata,
    Marked: markedSchema,
    Deliveries: deliveriesSchema,
    Delivery: deliverySchema,
    Redelivered: redeliveredSchema,
    Replayed: replayedSchema,
    Gpus: gpusSchema,
    Gpu: gpuSchema,
    StoppedGpu: stoppedGpuSchema,
    GpuTotals: gpuTotalsSchema,
    PaidSeconds: paidSeconds,
    Drained: drainedSchema,
    Pools: poolsSchema,
    Pool: poolSchema,
    PoolLimits: poolLimitsSchema,
    PoolGpu: poolGpuSchema,
    PoolProvider: poolProviderSchema,
    QueuedJob: queuedJobSchema,
    Versions: versionsSchema,
    Version: versionSchema,
    Running: runningSchema,
    Ok: okSchema,
    Ready: readySchema,
    Provider: providerSchema,
    Document: documentSchema,
    Webhook: webhookSchema,
    Error: errorSchema,
    JobType: jobType,
    JobState: jobState,
    JobStage: jobStage,
    JobStatus: jobStatus,
    FinalState: finalState,
    WaitingReason: waitingReason,
    GpuState: gpuState,
    ProviderState: providerState,
    VersionStatus: versionStatus,
    RequestableState: z.enum(requestableStates),
    Priority: z.enum(priorities),
    Voice: z.enum(voiceNames),
    WhisperModel: z.enum(whisperModels),
    WhisperTask: z.enum(whisperTasks),
    VisionModel: z.enum(config.vision.models),
    MuseTalkVersion: z.enum(museTalkVersions),
  };
}

export type SchemaName = keyof ReturnType<typeof schemasOf>;
