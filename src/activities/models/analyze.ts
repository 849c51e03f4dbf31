import { ApplicationFailure } from "@temporalio/activity";
import { generate, ModelMissing, type OllamaNode, pull } from "../../clients/ollama.ts";
import type { RunResult } from "../../contracts/activityTypes.ts";
import { failureTypes } from "../../jobs/failureTypes.ts";
import type { AnalyzeInput } from "../../jobs/kinds/analyze.ts";
import { whileStoreIsAway } from "../support/storeRetry.ts";
import { untilAppAnswers } from "./node.ts";
import type { ModelRun } from "./runModel.ts";
import { storeText } from "./storeText.ts";

/** Asks the vision model of the node about a picture. */
export async function runAnalyze(run: ModelRun, input: AnalyzeInput): Promise<RunResult> {
  const { job, lease, deps, signal } = run;
  const node: OllamaNode = { baseUrl: lease.nodeUrl, apiKey: deps.config.comput3.apiKey ?? "", signal };
  await untilAppAnswers(`${lease.nodeUrl}/api/tags`, run);
  const image = await imageOf(run);
  const text = await ask(run, node, input, image).catch(async (error: unknown) => {
    if (!(error instanceof ModelMissing)) throw error;
    await pullModel(run, node, input.model);
    return await ask(run, node, input, image);
  });
  if (text === "") throw ApplicationFailure.nonRetryable("the model said nothing", failureTypes.modelFailed);
  return { files: [], text: await storeText(deps, job.id, text, signal) };
}

function ask({ report }: ModelRun, node: OllamaNode, { model, prompt }: AnalyzeInput, image: string): Promise<string> {
  report({ progress: null, detail: "waiting for the model's first words" });
  return generate(node, {
    model,
    prompt,
    image,
    onText: (text) => report({ progress: null, detail: `${text.length} characters so far` }),
  });
}

async function pullModel({ deps, report }: ModelRun, node: OllamaNode, model: string): Promise<void> {
  if (!deps.config.vision.pull) {
    const message = `the model ${model} is not on the node (VISION_PULL=true lets it be downloaded)`;
    throw ApplicationFailure.nonRetryable(message, failureTypes.modelRefused);
  }
  await pull(node, model, (done) =>
    report({ progress: null, detail: `downloading the model ${model}, ${Math.round(done * 100)} %` }),
  );
}

/** The prepared picture, of bounded size, as the protocol wants it. */
async function imageOf({ inputs, deps, signal }: ModelRun): Promise<string> {
  const input = inputs.find(({ name }) => name === "image");
  if (input === undefined) throw new Error("the job has no image");
  return await whileStoreIsAway(async () => {
    const { body } = await deps.store.get(input.key, { signal });
    return Buffer.concat(await body.toArray()).toString("base64");
  }, signal);
}
