import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { submitJob } from "../../src/api/jobs/submitJob.ts";
import { ids } from "../../src/contracts/names.ts";
import type { LipsyncInput } from "../../src/jobs/kinds/lipsync.ts";
import { startTestApi } from "../api/support.ts";
import { probeAudio } from "../support/audio.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack, type TestStackOptions } from "../support/stack.ts";
import { startWorkerProcess, type WorkerProcess } from "../support/workerProcess.ts";

type Body = Record<string, unknown>;

describe("a lip-sync job, end to end", () => {
  let stack: TestStack;
  const sample = (name: string) => `${stack.simulator.url}/sim/files/${name}`;
  const hook = (name: string) => `${stack.simulator.url}/sim/hooks/${name}`;
  const runs = () => stack.simulator.renders().filter(({ kind }) => kind === "lipsync");
  const runOf = (id: string) => runs().find(({ arguments: args }) => args.job_id === id);
  const ofImage = () => ({ image_url: sample("portrait.jpg"), audio_url: sample("voice.wav") });
  const ofVideo = () => ({ video_url: sample("clip.mp4"), audio_url: sample("voice.wav") });
  const jobOf = async (id: string) => (await stack.get(`/jobs/${id}`)).body;

  async function start(options?: TestStackOptions): Promise<void> {
    stack = await startTestStack(options);
  }

  async function close(): Promise<void> {
    assert.deepEqual(stack.simulator.instances(), [], "no GPU is needed for it");
    await stack.close();
  }

  async function submit(body: Body = ofImage()): Promise<string> {
    const answer = await stack.post("/jobs", body);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    assert.deepEqual(answer.body, { job_id: answer.body.job_id, status: "submitted" });
    return answer.body.job_id as string;
  }

  async function problemsOf(body: Body): Promise<string[]> {
    const answer = await stack.post("/jobs", body);
    assert.equal(answer.status, 400, JSON.stringify(answer.body));
    return Object.keys(answer.body.errors as object);
  }

  async function webhookOf(name: string): Promise<Body> {
    const delivery = await eventually("the webhook", () => stack.simulator.received(name)[0]);
    return JSON.parse(delivery.body);
  }

  async function assertVideo(url: unknown): Promise<void> {
    const answer = await fetch(url as string);
    assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "video/mp4"]);
    const { codec, seconds, loudest } = await probeAudio(Buffer.from(await answer.arrayBuffer()));
    assert.ok(codec.includes("h264") && codec.includes("aac"), codec);
    assert.ok(seconds > 1 && loudest > 1000, JSON.stringify({ seconds, loudest }));
  }

  const untilCalled = (id: string) => eventually("the call on Modal", () => runOf(id));
  const untilInterrupted = (id: string) =>
    eventually("the call is cancelled on Modal", () => runOf(id)?.outcome === "interrupted");

  describe("on Modal", () => {
    before(() => start());
    afterEach(() => {
      stack.simulator.clearFaults();
      Object.assign(stack.simulator.settings, { renderSeconds: undefined, modalReturns: "url" });
    });
    after(close);

    it("lays a voice under a picture, and speaks the words of its own API and the common ones", async () => {
      stack.simulator.settings.renderSeconds = 2;
      const id = await submit({ ...ofImage(), notify_url: hook("image"), metadata: { order: 7 } });
      const call = await untilCalled(id);
      const running = await jobOf(id);
      assert.deepEqual(
        [running.id, running.job_id, running.type, running.status, running.state, running.stage],
        [id, id, "lipsync", "running", "running", "rendering"],
      );
      assert.equal((await stack.get(`/status/${id}`)).body.status, "running");
      for (const path of [`/result/${id}`, `/jobs/${id}/result`]) {
        const { status, body } = await stack.get(path);
        assert.deepEqual([status, body.error], [400, "Job not completed"]);
      }
      const { files } = await stack.untilState(id, "success");
      assert.deepEqual([call.node, call.arguments.version, call.arguments.video_url], ["modal", "v15", undefined]);
      const { body: result } = await stack.get(`/result/${id}`);
      assert.deepEqual(result, { id, status: "success", result_url: result.result_url, metadata: { order: 7 } });
      await assertVideo(result.result_url);
      const [{ key } = assert.fail("no file")] = files;
      const { body: own } = await stack.get(`/jobs/${id}/result`);
      assert.deepEqual(own, { output_path: key, result_url: own.result_url });
      const job = await jobOf(id);
      assert.deepEqual(
        [job.job_id, job.status, job.state, job.output_path, job.attempts],
        [id, "succeeded", "success", key, 0],
      );
      assert.deepEqual((await stack.get(`/status/${id}`)).body, { id, status: "success" });
      const told = await webhookOf("image");
      assert.deepEqual(told, { id, status: "success", result_url: told.result_url, metadata: { order: 7 } });
      await assertVideo(told.result_url);
      assert.equal(await stack.untilClosed(id), "COMPLETED");
      assert.deepEqual(await stack.storedInputs(id), []);
    });

    it("moves the lips of a video, with the version that is wanted", async () => {
      const id = await submit({ ...ofVideo(), version: "v1" });
      await stack.untilState(id, "success");
      const { version, image_url: image, video_url: video } = runOf(id)!.arguments;
      assert.deepEqual([version, image], ["v1", undefined]);
      assert.match(String(video), /video\.mp4/);
      await assertVideo((await stack.get(`/result/${id}`)).body.result_url);
    });

    it("stores a video that comes as bytes", async () => {
      stack.simulator.settings.modalReturns = "bytes";
      const id = await submit();
      await stack.untilState(id, "success");
      await assertVideo((await stack.get(`/jobs/${id}/result`)).body.result_url);
    });

    it("passes on a path that it cannot fetch", async () => {
      stack.simulator.settings.modalReturns = "path";
      const id = await submit({ ...ofImage(), notify_url: hook("path") });
      await stack.untilState(id, "success");
      const path = `/outputs/${id}.mp4`;
      assert.deepEqual((await stack.get(`/jobs/${id}/result`)).body, { output_path: path });
      assert.deepEqual((await stack.get(`/result/${id}`)).body, { id, status: "success", output_path: path });
      const { status, output_path: named, files } = await jobOf(id);
      assert.deepEqual([status, named, files], ["succeeded", path, []]);
      assert.deepEqual(await webhookOf("path"), { id, status: "success", output_path: path });
    });

    it("fails with the reason that the function raised, and is not called again", async () => {
      stack.simulator.fault({ service: "modal", action: "render_error", path: "/run", times: 1 });
      const id = await submit({ ...ofImage(), notify_url: hook("raised") });
      const error = "the function on Modal failed: ValueError('a fault of the simulator')";
      assert.equal((await stack.untilState(id, "failed")).error, error);
      assert.deepEqual((await stack.get(`/result/${id}`)).body, { id, status: "failed", error });
      assert.deepEqual((await stack.get(`/jobs/${id}/result`)).body, { job_id: id, status: "failed", error });
      assert.deepEqual(await webhookOf("raised"), { id, status: "failed", error });
      const job = await jobOf(id);
      assert.deepEqual([job.status, job.state, job.error], ["failed", "failed", error]);
      assert.equal(await stack.untilClosed(id), "FAILED");
      assert.equal(runs().filter(({ arguments: args }) => args.job_id === id).length, 1);
    });

    it("cancels the call on Modal when it is cancelled", async () => {
      stack.simulator.settings.renderSeconds = 60;
      const id = await submit({ ...ofImage(), notify_url: hook("cancelled") });
      await untilCalled(id);
      await stack.post(`/job/${id}`, { status: "cancelled" });
      assert.equal((await stack.get(`/status/${id}`)).body.status, "cancelled");
      await untilInterrupted(id);
      assert.equal(await stack.untilClosed(id), "CANCELLED");
      const job = await jobOf(id);
      assert.deepEqual([job.status, job.state, job.error], ["failed", "cancelled", "Job was cancelled"]);
      assert.deepEqual(await webhookOf("cancelled"), { id, status: "cancelled", error: "Job was cancelled" });
      assert.deepEqual(await stack.storedInputs(id), []);
    });

    it("cancels the call on Modal when max_time is over", async () => {
      stack.simulator.settings.renderSeconds = 60;
      const face = { kind: "image", source: { url: sample("portrait.jpg") } } as const;
      const input: LipsyncInput = { face, audio: { url: sample("voice.wav") }, version: "v15" };
      // Shorter than the API would take it.
      const id = crypto.randomUUID();
      const now = Date.now();
      const times = { createdAt: now, completeBy: now + 3_600_000, maxTimeSeconds: 1 };
      await submitJob(stack, { id, type: "lipsync", input, tenant: "default", priority: "normal", ...times });
      const { error } = await stack.untilState(id, "failed");
      assert.equal(error, "Job exceeded maximum runtime of 1 seconds");
      await untilInterrupted(id);
      assert.equal(await stack.untilClosed(id), "FAILED");
      assert.deepEqual(await stack.storedInputs(id), []);
    });

    for (const path of ["/FunctionGetOutputs", ""]) {
      it(`survives that Modal is unavailable for a moment${path === "" ? "" : ` (${path})`}`, async () => {
        stack.simulator.fault({ service: "modal", action: "status", times: 5, path });
        const id = await submit();
        await stack.untilState(id, "success");
        await assertVideo((await stack.get(`/result/${id}`)).body.result_url);
        assert.equal(runs().filter(({ arguments: args }) => args.job_id === id).length, 1);
      });
    }

    it("is called once, although the answer to the call is lost", async () => {
      stack.simulator.fault({ service: "modal", action: "drop_reply", path: "/FunctionMap", times: 1 });
      const id = await submit();
      await stack.untilState(id, "success");
      assert.equal(runs().filter(({ arguments: args }) => args.job_id === id).length, 1);
    });

    it("wants one face and a sound, by URL", async () => {
      const { image_url: image, audio_url: audio } = ofImage();
      assert.deepEqual(await problemsOf({}), ["video_url", "audio_url"]);
      assert.deepEqual(await problemsOf({ image_url: image }), ["audio_url"]);
      assert.deepEqual(await problemsOf({ audio_url: audio }), ["video_url"]);
      assert.deepEqual(await problemsOf({ ...ofImage(), ...ofVideo() }), ["image_url"]);
      assert.deepEqual(await problemsOf({ ...ofImage(), version: "v2" }), ["version"]);
      assert.deepEqual(await problemsOf({ ...ofImage(), video_path: "a.mp4" }), ["video_path"]);
      assert.deepEqual(await problemsOf({ image_url: image, audio_path: "a.wav" }), ["audio_path"]);
    });
  });

  describe("with the function of the original project", () => {
    before(() => start({ env: { MODAL_CONTRACT: "musetalk-poc" } }));
    afterEach(() => {
      stack.simulator.clearFaults();
      stack.simulator.settings.modalReturns = "url";
    });
    after(close);

    for (const [what, body] of [
      ["a picture", ofImage],
      ["a video", ofVideo],
    ] as const) {
      it(`calls it with what it takes: ${what}`, async () => {
        const id = await submit(body());
        await stack.untilState(id, "success");
        await assertVideo((await stack.get(`/result/${id}`)).body.result_url);
        const { arguments: args } = runs().at(-1)!;
        assert.deepEqual([args.job_id, args.video_path, args.version], [undefined, null, "v15"]);
        assert.deepEqual(
          [args.video_url === null, args.image_url === null],
          [what === "a picture", what === "a video"],
        );
      });
    }

    it("knows a failure that comes as an answer", async () => {
      stack.simulator.fault({ service: "modal", action: "render_error", path: "/run", times: 1 });
      const id = await submit();
      const { error } = await stack.untilState(id, "failed");
      assert.equal(error, "the function on Modal failed: a fault of the simulator");
    });

    it("takes the video as bytes, and tells a path", async () => {
      stack.simulator.settings.modalReturns = "bytes";
      const id = await submit();
      await stack.untilState(id, "success");
      await assertVideo((await stack.get(`/result/${id}`)).body.result_url);
      stack.simulator.settings.modalReturns = "path";
      const other = await submit();
      await stack.untilState(other, "success");
      assert.match(String((await jobOf(other)).output_path), /\.mp4$/);
    });
  });

  describe("by paths", () => {
    let outside: string;

    before(async () => {
      outside = await mkdtemp(join(tmpdir(), "c3-render-paths-"));
      const opened = join(outside, "opened");
      await mkdir(join(opened, "talks"), { recursive: true });
      await start({ env: { ALLOW_LOCAL_PATHS: opened } });
      const write = async (path: string, name: string) =>
        await writeFile(path, Buffer.from(await (await fetch(sample(name))).arrayBuffer()));
      await write(join(opened, "clip.mp4"), "clip.mp4");
      await write(join(opened, "talks", "voice.wav"), "voice.wav");
      await write(join(outside, "secret.wav"), "voice.wav");
      await mkdir(join(outside, "opened-too"));
      await write(join(outside, "opened-too", "secret.wav"), "voice.wav");
      await symlink(join(outside, "secret.wav"), join(opened, "link.wav"));
      await symlink(outside, join(opened, "folder"));
      await symlink(join(outside, "opened-too"), join(opened, "beside"));
      await symlink(join("talks", "voice.wav"), join(opened, "within.wav"));
    });
    after(async () => {
      await close();
      await rm(outside, { recursive: true, force: true });
    });

    for (const audio of ["talks/voice.wav", "within.wav"]) {
      it(`reads what is in the folder: ${audio}`, async () => {
        const id = await submit({ video_path: "clip.mp4", audio_path: audio });
        await stack.untilState(id, "success");
        await assertVideo((await stack.get(`/result/${id}`)).body.result_url);
      });
    }

    for (const audio of ["link.wav", "folder/secret.wav", "beside/secret.wav", "none.wav", "talks", "."]) {
      it(`reads nothing else: ${audio}`, async () => {
        const id = await submit({ video_path: "clip.mp4", audio_path: audio });
        assert.equal((await stack.untilState(id, "failed")).error, "audio_path: there is no such file");
        await stack.untilClosed(id);
        assert.deepEqual(await stack.storedInputs(id), []);
        assert.equal(runOf(id), undefined);
      });
    }

    it("refuses paths that name something else at once", async () => {
      const absolute = join(outside, "secret.wav");
      for (const path of ["../secret.wav", "talks/../../secret.wav", "..", absolute, "a\0b", "..\\secret.wav"]) {
        assert.deepEqual(await problemsOf({ video_path: "clip.mp4", audio_path: path }), ["audio_path"], path);
      }
      const both = { ...ofVideo(), audio_path: "talks/voice.wav" };
      assert.deepEqual(await problemsOf(both), ["audio_path"]);
      assert.deepEqual(await problemsOf({ ...ofVideo(), video_path: "clip.mp4" }), ["video_path"]);
    });
  });

  describe("when its worker is killed", () => {
    const workers: WorkerProcess[] = [];
    before(() => start({ withoutWorker: true, renderSeconds: 3 }));
    after(async () => {
      await close();
      for (const worker of workers.splice(0)) await worker.stop();
    });

    it("goes on with the same call on another worker, with one result and one webhook", async function () {
      this.timeout(120_000);
      const id = await submit({ ...ofImage(), notify_url: hook("killed") });
      const { status, state } = await jobOf(id);
      assert.deepEqual([status, state], ["submitted", "queued"]);
      workers.push(await startWorkerProcess(stack.config));
      await eventually("the call is waited for", async () => {
        const { raw } = await stack.client.workflow.getHandle(ids.job(id)).describe();
        return raw.pendingActivities?.some(({ activityType }) => activityType?.name === "collectLipsync");
      });
      await workers[0]!.kill();
      workers.push(await startWorkerProcess(stack.config));
      await stack.untilState(id, "success");
      assert.equal(runs().length, 1, "it was called once");
      assert.equal((await stack.view(id)).files.length, 1);
      await assertVideo((await stack.get(`/result/${id}`)).body.result_url);
      assert.equal(await stack.untilClosed(id), "COMPLETED");
      await webhookOf("killed");
      assert.equal(stack.simulator.received("killed").length, 1);
      assert.deepEqual(await stack.storedInputs(id), []);
    });
  });

  it("is not to be had without Modal's tokens", async () => {
    const api = await startTestApi();
    try {
      const url = "https://example.com/file";
      const answer = await api.post("/jobs", { image_url: url, audio_url: url });
      assert.equal(answer.status, 503);
      assert.match(((await answer.json()) as { error: string }).error, /MODAL_TOKEN_ID and MODAL_TOKEN_SECRET/);
    } finally {
      await api.close();
    }
  });
});
