import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { type Speaker, speakInParts } from "../../../src/activities/models/csmParts.ts";
import type { ModelRun } from "../../../src/activities/models/runModel.ts";
import { ModelFailure } from "../../../src/clients/modelCall.ts";
import { loadConfig } from "../../../src/config/index.ts";
import type { RunProgress } from "../../../src/contracts/activityTypes.ts";
import type { SpeechInput } from "../../../src/jobs/speech.ts";
import { createMediaTools } from "../../../src/media/ffmpeg.ts";
import { createMedia } from "../../../src/simulator/sound/media.ts";
import { createObjectStore } from "../../../src/storage/index.ts";
import { keys } from "../../../src/storage/keys.ts";
import { probeAudio } from "../../support/audio.ts";

const SAMPLE_RATE = 16_000;

describe("speech that is made in parts", () => {
  let folder: string;
  let url: string;
  /** What a call of these items sounds like: a second for each, in order ever louder. */
  const sounds = new Map<string, Buffer>();
  const server = createServer((request, response) => response.end(sounds.get(request.url ?? "")));
  const store = () => createObjectStore({ kind: "filesystem", dir: folder, shared: false, linkSecret: undefined }, "");

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-test-"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function speak(jobId: string, items: string[], speaker: Speaker, seen: RunProgress[] = []) {
    const config = { ...loadConfig({ GPU_PROVIDER: "simulator", C3_API_KEY: "key" }), outputDir: folder };
    const run = {
      job: { id: jobId },
      lease: { nodeUrl: url, node: "node" },
      deps: { config, store: store(), media: await createMediaTools(config, process.env) },
      attemptName: randomUUID(),
      report: (progress: RunProgress) => void seen.push(progress),
      signal: new AbortController().signal,
    } as unknown as ModelRun;
    const input = { monologue: items, pauseDurationMs: 500 } as SpeechInput;
    return (await new MockActivityEnvironment({}, { logger: new DefaultLogger("ERROR") }).run(() =>
      speakInParts(run, input, speaker, keys.result(jobId, "mp3")),
    )) as { key: string; bytes: number };
  }

  /** A voice of two items a call, whose call number `fails` fails. */
  function voice(calls: string[][], fails?: { at: number; with: Error }): Speaker {
    return {
      fits: (items) => Math.min(2, items.length),
      async speak(items) {
        calls.push([...items]);
        if (calls.length === fails?.at) throw fails.with;
        const pcm = new Int16Array(items.length * SAMPLE_RATE);
        for (const [index, item] of items.entries())
          pcm.subarray(index * SAMPLE_RATE, (index + 1) * SAMPLE_RATE).forEach((_, at, part) => {
            part[at] = Math.sin(at / 5) * Number(item) * 3000;
          });
        const path = `/${randomUUID()}`;
        sounds.set(path, await createMedia().encodeMp3(pcm, items.join(" ")));
        return { url: `${url}${path}`, mimeType: "audio/mpeg" };
      },
    };
  }
  const items = ["1", "2", "3", "4", "5"];

  it("is one sound, in order, with the pauses between the parts", async () => {
    const calls: string[][] = [];
    const seen: RunProgress[] = [];
    const jobId = randomUUID();
    const { key } = await speak(jobId, items, voice(calls), seen);
    assert.deepEqual(calls, [["1", "2"], ["3", "4"], ["5"]]);
    const file = Buffer.concat(await (await store().get(key)).body.toArray());
    const { seconds, codec } = await probeAudio(file);
    assert.equal(codec, "mp3");
    assert.ok(Math.abs(seconds - 6) < 0.3, `${seconds} s`);
    const path = join(folder, "whole.mp3");
    await writeFile(path, file);
    const pcm = await createMedia().decode(path);
    // Loudness at the middle of each item; a pause of half a second after the second and the fourth.
    const loudness = [0.5, 1.5, 3, 4, 5.5].map((at) =>
      Math.max(...pcm.subarray((at - 0.2) * SAMPLE_RATE, (at + 0.2) * SAMPLE_RATE)),
    );
    assert.deepEqual(
      loudness,
      loudness.toSorted((a, b) => a - b),
    );
    assert.ok(Math.max(...pcm.subarray(2.15 * SAMPLE_RATE, 2.35 * SAMPLE_RATE)) < 300, "there is a pause");
    assert.equal(seen.at(-1)?.progress, 1);
  });

  it("goes on with the first part that is not there when it was interrupted", async () => {
    const calls: string[][] = [];
    const jobId = randomUUID();
    await assert.rejects(
      speak(jobId, items, voice(calls, { at: 2, with: new Error("the worker died") })),
      /worker died/,
    );
    await speak(jobId, items, voice(calls));
    assert.deepEqual(calls, [["1", "2"], ["3", "4"], ["3", "4"], ["5"]]);
  });

  it("takes less at a time when a call was too much for the model", async () => {
    const calls: string[][] = [];
    const tooMuch = new ModelFailure("failed", "Generation failed: Inputs too long, must be below 1923");
    await speak(randomUUID(), items, voice(calls, { at: 2, with: tooMuch }));
    assert.deepEqual(calls, [["1", "2"], ["3", "4"], ["3"], ["4"], ["5"]]);
  });

  it("fails when one item alone is too much", async () => {
    const tooMuch = new ModelFailure("failed", "Generation failed: Inputs too long, must be below 1923");
    await assert.rejects(speak(randomUUID(), ["1"], voice([], { at: 1, with: tooMuch })), /Inputs too long/);
  });
});
