import { ApplicationFailure, log } from "@temporalio/activity";
import { ComfyRefused, createComfyUi } from "../../clients/comfyui.ts";
import { runPrompt } from "../../clients/comfyuiPrompt.ts";
import { ModelFailure } from "../../clients/modelCall.ts";
import type { PortraitConfig } from "../../config/index.ts";
import type { RunResult } from "../../contracts/activityTypes.ts";
import { failureTypes } from "../../jobs/failureTypes.ts";
import { readImageSizeApart } from "../../media/imageProcess.ts";
import { isWholeMp4 } from "../../media/mp4.ts";
import { keys } from "../../storage/keys.ts";
import { comfyUrlOf } from "../gpus/nodeUrls.ts";
import { MAX_PIXELS } from "../inputs/picture.ts";
import { APP_START_MS, type InputFile, untilAppAnswers, withInputFiles } from "./node.ts";
import { runIdOf } from "./runId.ts";
import type { ModelRun } from "./runModel.ts";
import { loadPortraitGraph, type PortraitValues } from "./sonicGraph.ts";

/** What the model adds to the sound, and takes for sound of unknown length, in seconds. */
const MARGIN_SECONDS = 3;
const UNKNOWN_SECONDS = 8;

/** Lets a picture speak with the SONIC nodes of the node's ComfyUI. */
export async function runPortrait(run: ModelRun): Promise<RunResult> {
  const { job, lease, again, deps, report, signal } = run;
  const { config } = deps;
  const url = comfyUrlOf(config, lease);
  const comfy = createComfyUi(url, config.comput3.apiKey ?? "");
  await untilAppAnswers(`${url}/system_stats`, run);
  log.info("ComfyUI is there", { jobId: job.id, node: lease.node, version: await comfy.version(signal) });
  const promptId = runIdOf(again ? `${lease.leaseId}-again` : lease.leaseId);
  // The file's name is unique to the lease, so that the run can be found by it.
  const filePrefix = `Video_${job.id}_${promptId.slice(0, 8)}`;
  const video = await withInputFiles(run, ["image", "audio"], async ({ image, audio }) => {
    if (image === undefined || audio === undefined) throw new Error("a portrait needs a picture and a sound");
    const seconds = (await deps.media.probe(audio.path, signal))?.durationSeconds;
    if (seconds !== undefined && seconds > config.inputs.maxPortraitSeconds) {
      const message = `a portrait speaks for ${config.inputs.maxPortraitSeconds} s at most, this speech takes ${Math.ceil(seconds)} s`;
      throw ApplicationFailure.nonRetryable(message, failureTypes.modelRefused);
    }
    const upload = async ({ file }: InputFile) => {
      const renamed = new File([file], `${promptId}_${file.name}`, { type: file.type });
      return await comfy.upload(renamed, signal).catch((error: unknown) => {
        throw error instanceof ComfyRefused ? new ModelFailure("refused", error.message, { cause: error }) : error;
      });
    };
    const values: PortraitValues = {
      image: await upload(image),
      audio: await upload(audio),
      ...(await readImageSizeApart(image.path, MAX_PIXELS, signal)),
      duration: seconds === undefined ? UNKNOWN_SECONDS : Math.ceil(seconds) + MARGIN_SECONDS,
      // The same for every attempt; the node takes 31 bits.
      seed: Number.parseInt(promptId.slice(0, 8), 16) & 0x7fffffff,
      filename_prefix: filePrefix,
    };
    return await runPrompt(comfy, {
      graph: await loadPortraitGraph(config.portrait, values),
      promptId,
      filePrefix,
      isWhole: isWholeMp4,
      pollMs: config.portrait.pollIntervalMs,
      patienceMs: APP_START_MS,
      settleMs: config.gpu.cancelSettleMs,
      onProgress: (progress, detail) => report({ progress, detail }),
      signal,
    }).catch((error: unknown) => {
      throw isOperators(config.portrait) ? notTheNodes(error) : error;
    });
  });
  return { files: [{ key: keys.result(job.id, "mp4"), url: comfy.fileUrl(video), mimeType: "video/mp4" }] };
}

/** With a graph or names of the operator's, a class or a model that a node lacks is not the node's fault. */
function isOperators({ workflowFile, names }: PortraitConfig): boolean {
  return workflowFile !== undefined || Object.keys(names).length > 0;
}

function notTheNodes(error: unknown): unknown {
  const refused = error instanceof ModelFailure && error.cause instanceof ComfyRefused;
  return refused ? new ModelFailure("refused", error.message, { cause: error }) : error;
}
