import { createWriteStream, openAsBlob } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure } from "@temporalio/activity";
import { keyRefused, ModelFailure } from "../../clients/modelCall.ts";
import { nodeFetch } from "../../clients/nodeFetch.ts";
import { failureTypes } from "../../jobs/failureTypes.ts";
import type { InputName } from "../../jobs/inputs.ts";
import { timeLimit } from "../../lib/timeLimit.ts";
import { isLack } from "../inputs/failures.ts";
import { withTempFolder } from "../inputs/tempFolder.ts";
import { inputFileName } from "../inputs/tempNames.ts";
import { whileStoreIsAway } from "../support/storeRetry.ts";
import type { ModelRun } from "./runModel.ts";

/** What the runs of every model do with their node. */

/** A node may answer before its apps do. */
export const APP_START_MS = 120_000;
const APP_CHECK_MS = 1000;
const NO_ROOM = "a worker could not write its files";
const APP_CHECK_TIMEOUT_MS = 5000;

/** Waits until a GET of `url` succeeds. */
export async function untilAppAnswers(url: string, { deps, report, signal }: ModelRun): Promise<void> {
  const { apiKey = "" } = deps.config.comput3;
  const deadline = performance.now() + APP_START_MS;
  for (;;) {
    const answer = await nodeFetch(url, apiKey, { signal: timeLimit(APP_CHECK_TIMEOUT_MS, signal) }).catch(() => ({
      ok: false,
      status: undefined,
      body: null,
    }));
    signal.throwIfAborted();
    await answer.body?.cancel();
    if (answer.ok) return;
    if (answer.status === 401 || answer.status === 403) throw keyRefused(answer.status);
    if (performance.now() > deadline) throw new ModelFailure("transport", "the app on the node did not start");
    report({ progress: null, detail: "waiting for the app on the node" });
    await delay(APP_CHECK_MS, undefined, { signal });
  }
}

/** A prepared input on disk: however long it is, it is not held in memory. */
export interface InputFile {
  path: string;
  file: File;
}

/** Runs `work` with the named inputs, those that the job has, as files. */
export async function withInputFiles<T>(
  run: ModelRun,
  names: readonly InputName[],
  work: (files: Partial<Record<InputName, InputFile>>) => Promise<T>,
): Promise<T> {
  const { inputs, deps, attemptName, signal, job } = run;
  const wanted = inputs.filter(({ name }) => names.includes(name));
  if (wanted.length === 0) return await work({});
  return await withTempFolder(deps.config, attemptName, async (folder) => {
    const files: Partial<Record<InputName, InputFile>> = {};
    for (const { name, key, mimeType } of wanted) {
      const extension = key.slice(key.lastIndexOf("."));
      const path = join(folder, `${inputFileName(job, name)}${extension}`);
      await whileStoreIsAway(async () => {
        const { body } = await deps.store.get(key, { signal });
        await pipeline(body, createWriteStream(path), { signal }).catch((error: unknown) => {
          // A GPU is not to wait for room on this worker's disk: another worker has some.
          throw isLack(error)
            ? ApplicationFailure.create({ message: NO_ROOM, type: failureTypes.workerFailed })
            : error;
        });
      }, signal);
      const blob = await openAsBlob(path, { type: mimeType });
      files[name] = { path, file: new File([blob], `${name}${extension}`, { type: mimeType }) };
    }
    return await work(files);
  });
}
