import { createReadStream } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { ApplicationFailure, activityInfo, cancellationSignal, log } from "@temporalio/activity";
import type { PreparedInput } from "../../contracts/activityTypes.ts";
import { type InputKind, inputsOf, type WantedInput } from "../../jobs/inputs.ts";
import type { JobSpec } from "../../jobs/job.ts";
import { createFairLimit } from "../../lib/fairLimit.ts";
import { messageOf } from "../../lib/text.ts";
import { withoutJunk } from "../../media/junk.ts";
import { FileRefused } from "../../media/verdict.ts";
import { keys } from "../../storage/keys.ts";
import type { ActivityDeps } from "../support/deps.ts";
import { withHeartbeats } from "../support/heartbeats.ts";
import { whileStoreIsAway } from "../support/storeRetry.ts";
import { forGood, invalid, notHere } from "./failures.ts";
import { fetchOriginal } from "./fetchOriginal.ts";
import { preparePicture } from "./picture.ts";
import { createPostponements } from "./postponements.ts";
import { prepareSound } from "./sound.ts";
import type { Prepared, Staged } from "./staged.ts";
import { withTempFolder } from "./tempFolder.ts";
import { inputFileName } from "./tempNames.ts";
import { checkVideo } from "./video.ts";

/**
 * MuseTalk works at 25 pictures a second and holds all of them, as they are: five minutes of 1280×720 take 21 GB there.
 */
const MAX_LIPSYNC_SECONDS = 300;
/** Of a process: while others are downloaded, so many are decoded, one less than that of one tenant. */
const PREPARED_AT_ONCE = Math.max(2, availableParallelism());

/** Jobs of a process whose inputs are downloaded and prepared at one time. */
const AT_ONCE = 16;
/** Of those, of one tenant, and from one host: there are always places for others. */
const AT_ONCE_PER_KEY = 12;
/** Jobs of one tenant that may stand in line for these places; Temporal keeps the others until later. */
const IN_LINE_PER_TENANT = 32;
const TRIES = 5;

/** How often inputs were tried, which outlives an attempt. */
interface Tries {
  tries: number;
}

const prepare: Record<InputKind, (staged: Staged) => Promise<Prepared>> = {
  voice: prepareSound,
  sound: prepareSound,
  portraitSound: prepareSound,
  lipSound: prepareSound,
  picture: preparePicture,
  portrait: preparePicture,
  face: preparePicture,
  video: checkVideo,
};

export interface DownloadRequest {
  job: JobSpec;
  mayPostpone?: boolean;
}

/** Downloads, checks and prepares what a job was given by reference, before a GPU is paid for. */
export function createDownloadInputs(deps: ActivityDeps) {
  const { config, store, media } = deps;
  const { maxAudioBytes, maxImageBytes, maxVideoBytes, maxAudioSeconds, maxPortraitSeconds } = config.inputs;
  const lipSeconds = Math.min(maxAudioSeconds, MAX_LIPSYNC_SECONDS);
  const sound = { maxBytes: maxAudioBytes, maxSeconds: maxAudioSeconds };
  const picture = { maxBytes: maxImageBytes, maxSeconds: 0 };
  const limits: Record<InputKind, { maxBytes: number; maxSeconds: number }> = {
    voice: sound,
    sound,
    portraitSound: { ...sound, maxSeconds: maxPortraitSeconds },
    lipSound: { ...sound, maxSeconds: lipSeconds },
    picture,
    portrait: picture,
    face: picture,
    video: { maxBytes: maxVideoBytes, maxSeconds: lipSeconds },
  };

  const decoders = createFairLimit({ total: PREPARED_AT_ONCE, perKey: PREPARED_AT_ONCE - 1 });
  const places = createFairLimit({ total: AT_ONCE, perKey: AT_ONCE_PER_KEY });
  const postponements = createPostponements();

  async function stage(input: WantedInput, job: JobSpec, folder: string, signal: AbortSignal): Promise<PreparedInput> {
    const { name, field, kind, source } = input;
    const { maxBytes, maxSeconds } = limits[kind];
    const target = join(folder, inputFileName(job, name));
    const fetched = `${target}_original`;
    await fetchOriginal(deps, { jobId: job.id, tenant: job.tenant, field, source, maxBytes, target: fetched, signal });
    const original = await withoutJunk(fetched, `${fetched}_without_junk`, signal);
    const staged = { input, original, target, media, maxSeconds, signal };
    const decode = () => prepare[kind](staged);
    const { path, extension, mimeType, ...about } = await decoders.run([job.tenant], decode, signal);
    const key = keys.input(job.id, `${name}.${extension}`);
    const put = () => store.put(key, createReadStream(path), { contentType: mimeType, signal });
    const bytes = await whileStoreIsAway(put, signal);
    return { name, key, mimeType, bytes, ...about };
  }

  /** Whom the work is for, and the servers that it is asked of; those of the operator are not spared. */
  function keysOf(job: JobSpec): [string, ...string[]] {
    const hosts = inputsOf(job).flatMap(({ source }) => {
      if (!("url" in source)) return [];
      const { host, origin } = new URL(source.url);
      return config.trustedOrigins.inputs.includes(origin) ? [] : [`host ${host}`];
    });
    return [`tenant ${job.tenant}`, ...hosts];
  }

  return {
    /**
     * @param mayPostpone whether the workflow lets the activity be tried as often as it likes, so that it may make way for
     *   jobs of other tenants, and counts its tries itself
     * @throws ApplicationFailure `InvalidInput` with a sentence that names the field
     */
    async downloadInputs({ job, mayPostpone = false }: DownloadRequest): Promise<{ inputs: PreparedInput[] }> {
      const signal = cancellationSignal();
      const keys = keysOf(job);
      if (mayPostpone && places.count(keys[0]) >= IN_LINE_PER_TENANT) throw postponements.next(job.tenant);
      const { tries } = { tries: 0, ...(activityInfo().heartbeatDetails as Partial<Tries> | undefined) };
      const stageAll = async (folder: string) => {
        const inputs: PreparedInput[] = [];
        for (const input of inputsOf(job)) {
          inputs.push(await blamed(input.field, signal, () => stage(input, job, folder, signal)));
        }
        return { inputs };
      };
      const name = `${job.id}-inputs-${activityInfo().attempt}`;
      return await withHeartbeats<{ inputs: PreparedInput[] }, Tries>(async (report) => {
        report({ tries });
        const work = async () => {
          report({ tries: tries + 1 });
          return await blamed(undefined, signal, () => withTempFolder(config, name, stageAll));
        };
        try {
          return await places.run(keys, work, signal);
        } catch (error) {
          throw mayPostpone && tries + 1 >= TRIES ? forGood(error) : error;
        }
      });
    },
  };
}

/** Whose fault it is that an input could not be prepared: of the file, for good, or of this machine, for now. */
async function blamed<T>(field: string | undefined, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ApplicationFailure) throw error;
    if (error instanceof FileRefused && field !== undefined) {
      throw invalid(field, `it could not be decoded (${error.message})`);
    }
    const reason = messageOf(error);
    const cause = error instanceof Error ? error.cause : undefined;
    log.warn("an input could not be prepared here", { field, error: reason, cause: cause && String(cause) });
    throw notHere(field, error);
  }
}
