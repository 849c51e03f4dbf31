import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { statfsSync } from "node:fs";
import { copyFile, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { ApplicationFailure } from "@temporalio/activity";
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import sharp from "sharp";
import { createDownloadInputs } from "../../../src/activities/inputs/downloadInputs.ts";
import { withInputFiles } from "../../../src/activities/models/node.ts";
import type { ModelRun } from "../../../src/activities/models/runModel.ts";
import type { ActivityDeps } from "../../../src/activities/support/deps.ts";
import { loadConfig } from "../../../src/config/index.ts";
import type { JobSpec } from "../../../src/jobs/job.ts";
import { createMediaTools } from "../../../src/media/ffmpeg.ts";
import { prepareImageApart } from "../../../src/media/imageProcess.ts";
import { ToolTrouble } from "../../../src/media/verdict.ts";
import { createSafeFetch } from "../../../src/net/safeFetch.ts";
import { createObjectStore } from "../../../src/storage/index.ts";
import { ffmpeg, makeFolder, testSound } from "../../media/support.ts";

const { signal } = new AbortController();
const NO_PATHS = { ffmpegPath: undefined, ffprobePath: undefined };
/** Nothing can be written there, by anybody. */
const FULL = "/dev/full";
const DISK_BYTES = 1024 * 1024;

describe("a disk that is full", () => {
  let folder: string;
  let remove: () => Promise<void>;

  before(async () => {
    ({ folder, remove } = await makeFolder());
    // Larger than the disk, as it comes and as it is prepared.
    await ffmpeg(...testSound(20), join(folder, "sound.wav"));
    await ffmpeg(...testSound(0.5), join(folder, "small.wav"));
    const noise = { type: "gaussian", mean: 128, sigma: 30 } as const;
    const picture = sharp({ create: { width: 900, height: 900, channels: 3, background: "black", noise } });
    await picture.png().toFile(join(folder, "picture.png"));
  });
  after(() => remove());

  for (const [whose, env] of Object.entries({ "of the package": { PATH: "" }, "of the PATH": process.env })) {
    it(`is not the fault of a sound that is encoded, with the programs ${whose}`, async () => {
      const media = await createMediaTools(NO_PATHS, env);
      const [track] = (await media.probe(join(folder, "sound.wav"), signal))!.sounds;
      await symlink(FULL, join(folder, "full.mp3")).catch(() => undefined);
      const encoding = media.toMp3(join(folder, "sound.wav"), join(folder, "full.mp3"), {
        track: track!,
        maxSeconds: 60,
        signal,
      });
      await assert.rejects(encoding, ToolTrouble);
    });
  }

  it("is not the fault of a picture", async () => {
    const options = { maxPixels: 1e6, minSide: 1, maxRatio: 50, box: { width: 256, height: 256 }, forVideo: false };
    await assert.rejects(prepareImageApart(join(folder, "picture.png"), FULL, options, signal), ToolTrouble);
  });

  describe("where a worker puts its files", () => {
    let disk: string;
    let isMounted = false;

    before(async function () {
      disk = join(folder, "disk");
      await mkdir(disk);
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES}`, "tmpfs", disk], { stdio: "ignore" });
        isMounted = true;
      } catch {
        console.log("      a small disk cannot be mounted here: only /dev/full is tried");
        this.skip();
      }
      await mkdir(join(folder, "local"));
      for (const name of ["sound.wav", "small.wav", "picture.png"]) {
        await copyFile(join(folder, name), join(folder, "local", name));
      }
    });
    after(() => {
      if (isMounted) execFileSync("umount", [disk]);
    });

    /** @param full what else is on the disk */
    async function failure(audio: string, full: number): Promise<ApplicationFailure> {
      const env = { OUTPUT_DIR: disk, LOCAL_INPUT_DIR: join(folder, "local"), STORAGE_DIR: join(folder, "store") };
      const config = { ...loadConfig(env) };
      config.inputs = { ...config.inputs, allowLocalPaths: join(folder, "local") };
      const safeFetch = createSafeFetch({ trustedOrigins: { inputs: [], webhooks: [] } });
      const store = createObjectStore({ ...config.storage }, "http://127.0.0.1:1");
      const media = await createMediaTools(NO_PATHS, process.env);
      const deps = { config, store, safeFetch, media } as unknown as ActivityDeps;
      const free = statfsSync(disk);
      await writeFile(join(disk, "other"), Buffer.alloc(Math.floor(full * free.bavail * free.bsize)));
      const face = { kind: "image", source: { path: "picture.png" } };
      const job = { id: "job", type: "lipsync", input: { face, audio: { path: audio } } } as unknown as JobSpec;
      const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger("ERROR") });
      const error = await environment
        .run(() => createDownloadInputs(deps).downloadInputs({ job }))
        .then(
          () => assert.fail("there was room"),
          (reason: unknown) => reason,
        )
        .finally(() => safeFetch.close());
      assert.ok(error instanceof ApplicationFailure, String(error));
      return error;
    }

    for (const [what, audio, full] of [
      ["has no room for a file", "sound.wav", 0],
      ["has no room for a small one", "small.wav", 0.95],
      ["is full altogether", "small.wav", 1],
    ] as const) {
      it(`is told to nobody, and tried elsewhere: it ${what}`, async () => {
        const { message, nonRetryable, nextRetryDelay } = await failure(audio, full);
        assert.notEqual(nonRetryable, true, message);
        assert.match(message, /could not be prepared on this worker$/);
        // Nobody who polls again at once is to have it again.
        assert.equal(nextRetryDelay, 15_000);
      });
    }

    it("keeps no GPU waiting: the run fails at once, for another worker", async () => {
      const store = { get: async () => ({ body: Readable.from([Buffer.alloc(4 * DISK_BYTES)]) }) };
      const inputs = [{ name: "audio", key: "jobs/job/audio.mp3", mimeType: "audio/mpeg", bytes: 1 }];
      const deps = { config: loadConfig({ OUTPUT_DIR: disk }), store };
      const run = { inputs, deps, attemptName: "job-1", signal, job: { id: "job", type: "whisper" } };
      const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger("ERROR") });
      const failing = environment.run(() => withInputFiles(run as unknown as ModelRun, ["audio"], async () => {}));
      await assert.rejects(failing, { type: "WorkerFailed", message: "a worker could not write its files" });
    });
  });
});
