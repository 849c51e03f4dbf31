import assert from "node:assert/strict";
import { createModalFunction, type ModalFunction, type ModalOptions } from "../../src/clients/modal.ts";
import { ModelFailure } from "../../src/clients/modelCall.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { eventually } from "../support/eventually.ts";

const ENOUGH_MS = 15_000;

describe("a function on Modal", () => {
  let simulator: Simulator;
  let modal: ModalFunction;

  const connect = (changed: Partial<ModalOptions> = {}) =>
    createModalFunction({ ...simulator.modal, environment: undefined, ...changed });
  const sample = (name: string) => `${simulator.url}/sim/files/${name}`;
  const parameters = () => ({
    job_id: "job-1",
    image_url: sample("portrait.jpg"),
    audio_url: sample("voice.wav"),
    version: "v15",
  });
  const spawn = () => modal.spawn(parameters());
  const renderOf = (callId: string) => simulator.renders().find(({ id }) => id === callId);
  const fault = (wanted: Omit<Parameters<Simulator["fault"]>[0], "service">) =>
    simulator.fault({ service: "modal", ...wanted });
  const failure = async (work: Promise<unknown>) => {
    const error = await work.catch((caught: unknown) => caught);
    assert.ok(error instanceof ModelFailure, String(error));
    return error;
  };
  const done = async (callId: string) => {
    const polled = await modal.poll(callId, ENOUGH_MS);
    assert.ok(polled.done, "it goes on");
    return polled.value;
  };

  before(async () => {
    simulator = await startSimulator({ launchSeconds: 0, speed: 0 });
  });
  beforeEach(() => {
    simulator.clearFaults();
    Object.assign(simulator.settings, { renderSeconds: undefined, modalReturns: "url" });
    modal = connect();
  });
  after(() => simulator.close());

  it("is called by names, and every process finds the call again by its id", async () => {
    const callId = await spawn();
    assert.deepEqual(renderOf(callId)?.arguments, parameters());
    const value = await done(callId);
    const polled = await connect().poll(callId, 0);
    assert.deepEqual(polled, { done: true, value });
    const video = await fetch((value as { output_url: string }).output_url);
    assert.equal(video.status, 200);
  });

  it("hands over bytes as bytes, and a path as text", async () => {
    simulator.settings.modalReturns = "bytes";
    const { output } = (await done(await spawn())) as { output: Uint8Array };
    assert.equal(Buffer.from(output.subarray(4, 8)).toString(), "ftyp");
    simulator.settings.modalReturns = "path";
    assert.deepEqual(await done(await spawn()), { output_path: "/outputs/job-1.mp4" });
  });

  it("is waited for no longer than wanted", async () => {
    simulator.settings.renderSeconds = 60;
    const callId = await spawn();
    assert.deepEqual(await modal.poll(callId, 0), { done: false });
    assert.deepEqual(await modal.poll(callId, 100), { done: false });
    assert.equal(renderOf(callId)?.outcome, undefined);
    await modal.cancel(callId);
  });

  it("fails with the reason that it raised", async () => {
    fault({ action: "render_error", path: "/run", times: 1 });
    const { kind, message } = await failure(done(await spawn()));
    assert.deepEqual(
      [kind, message],
      ["failed", "the function on Modal failed: ValueError('a fault of the simulator')"],
    );
    const wrong = await modal.spawn({ job_id: "job-1" });
    assert.match((await failure(done(wrong))).message, /TypeError\('lip_sync\(\) got wrong arguments: audio_url/);
  });

  it("is cancelled, also twice, and stays as it is once it has ended", async () => {
    simulator.settings.renderSeconds = 60;
    const callId = await spawn();
    await modal.cancel(callId);
    await modal.cancel(callId);
    await eventually("it ends", () => renderOf(callId)?.outcome === "interrupted");
    assert.equal((await failure(modal.poll(callId, ENOUGH_MS))).kind, "failed");

    simulator.settings.renderSeconds = undefined;
    const ended = await spawn();
    const value = await done(ended);
    await modal.cancel(ended);
    assert.equal(renderOf(ended)?.outcome, "success");
    assert.deepEqual(await done(ended), value);
  });

  for (const [what, changed, says] of [
    ["a token that is wrong", { tokenSecret: "wrong" }, /^Modal refuses the token$/],
    ["an app that is not there", { app: "other" }, /^Modal does not know it: .*other/],
    ["a function that is not there", { function: "other" }, /^Modal does not know it: .*other/],
  ] as const) {
    it(`cannot be helped by asking again: ${what}`, async () => {
      const { kind, message } = await failure(connect(changed).spawn(parameters()));
      assert.equal(kind, "failed", message);
      assert.match(message, says);
      assert.ok(!message.includes("\n"), "it is one line");
    });
  }

  it("does not know the call of somebody else", async () => {
    const { kind, message } = await failure(modal.poll("fc-unknown", 0));
    assert.equal(kind, "failed");
    assert.match(message, /^Modal does not know it: .*fc-unknown/);
    assert.equal((await failure(modal.cancel("fc-unknown"))).kind, "failed");
  });

  it("may be asked again when Modal is unavailable, by the same client", async () => {
    fault({ action: "status" });
    const { kind, message } = await failure(spawn());
    assert.equal(kind, "transport", message);
    assert.match(message, /^Modal could not be reached: /);
    simulator.clearFaults();
    await done(await spawn());
  });

  it("goes on when its state cannot be had for a moment", async () => {
    const callId = await spawn();
    fault({ action: "status", path: "/FunctionGetOutputs" });
    assert.equal((await failure(modal.poll(callId, 100))).kind, "transport");
    simulator.clearFaults();
    await done(callId);
    assert.equal(renderOf(callId)?.outcome, "success");
  });

  it("is called once, although the answer to the call is lost", async () => {
    const before = simulator.renders().length;
    fault({ action: "drop_reply", path: "/FunctionMap", times: 2 });
    await done(await spawn());
    assert.equal(simulator.renders().length, before + 1);
  });

  it("cannot be reached where nobody listens", async () => {
    const { kind } = await failure(connect({ serverUrl: "http://127.0.0.1:1" }).spawn(parameters()));
    assert.equal(kind, "transport");
  });

  it("leaves the environment as it was", async () => {
    const { MODAL_SERVER_URL: was } = process.env;
    process.env.MODAL_SERVER_URL = "http://127.0.0.1:1";
    try {
      await done(await spawn());
      assert.equal(process.env.MODAL_SERVER_URL, "http://127.0.0.1:1");
      delete process.env.MODAL_SERVER_URL;
      await done(await connect().spawn(parameters()));
      assert.equal(process.env.MODAL_SERVER_URL, undefined);
    } finally {
      if (was !== undefined) process.env.MODAL_SERVER_URL = was;
    }
  });
});
