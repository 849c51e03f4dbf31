import type { Config } from "../../config.ts";
import { payloadsSchema } from "../routes/codec.ts";
import { replaySchema } from "../routes/deliveries.ts";
import { drainSchema } from "../routes/gpus.ts";
import { markSchema } from "../routes/jobs.ts";
import { resizeSchema } from "../routes/pools.ts";
import { submissionSchemas } from "../submissionSchemas.ts";
import { deliveriesSchema, redeliveredSchema, replayedSchema } from "./schemas/deliveries.ts";
import { errorSchema } from "./schemas/errors.ts";
import { drainedSchema, gpusSchema, poolSchema, poolsSchema } from "./schemas/gpus.ts";
import {
  acceptedSchema,
  jobSchema,
  jobsSchema,
  lipsyncAcceptedSchema,
  lipsyncResultSchema,
  lipsyncSubmittedSchema,
  markedSchema,
  resultSchema,
  statusSchema,
  submittedSchema,
  webhookSchema,
} from "./schemas/jobs.ts";
import { documentSchema, okSchema, readySchema, runningSchema } from "./schemas/service.ts";

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
    Payloads: payloadsSchema,
    Submitted: submittedSchema,
    LipsyncSubmitted: lipsyncSubmittedSchema,
    Accepted: acceptedSchema,
    LipsyncAccepted: lipsyncAcceptedSchema,
    Status: statusSchema,
    Result: resultSchema,
    LipsyncResult: lipsyncResultSchema,
    Job: jobSchema,
    Jobs: jobsSchema,
    Marked: markedSchema,
    Deliveries: deliveriesSchema,
    Redelivered: redeliveredSchema,
    Replayed: replayedSchema,
    Gpus: gpusSchema,
    Drained: drainedSchema,
    Pool: poolSchema,
    Pools: poolsSchema,
    Running: runningSchema,
    Ok: okSchema,
    Ready: readySchema,
    Document: documentSchema,
    Webhook: webhookSchema,
    Error: errorSchema,
  };
}

export type SchemaName = keyof ReturnType<typeof schemasOf>;
