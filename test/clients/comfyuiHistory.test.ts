import assert from "node:assert/strict";
import { historySchema, queueSchema } from "../../src/clients/comfyuiHistory.ts";

const graph = { 21: { class_type: "VHS_VideoCombine", inputs: { filename_prefix: "Video_ours" } } };
const prompt = [0, "ours", graph, {}, ["21"]];
const success = { status_str: "success", completed: true, messages: [] };
const gif = { filename: "Video_ours_00001-audio.mp4", subfolder: "", type: "output", format: "video/h264-mp4" };
const file = { filename: gif.filename, subfolder: "", type: "output" };
const ours = { prompt, outputs: { 21: { gifs: [gif] } }, status: success, meta: {} };

/** Shapes that the histories of real servers hold, of other clients and of ours. */
const strange: [what: string, entry: unknown][] = [
  ["files that are paths", { ...ours, outputs: { 1: { videos: ["/output/a.mp4"], gifs: ["b"] } } }],
  ["a file without a name", { ...ours, outputs: { 1: { gifs: [{ type: "output" }, { filename: "" }, null, []] } } }],
  ["lists that are no lists", { ...ours, outputs: { 1: { gifs: "a.gif", videos: { 0: {} } } } }],
  ["outputs that are no objects", { ...ours, outputs: { 1: null, 2: "text", 3: [1] } }],
  ["outputs that are a list", { ...ours, outputs: [ours] }],
  ["no outputs", { prompt, status: success }],
  ["outputs of null", { ...ours, outputs: null }],
  ["a status of null", { ...ours, status: null }],
  ["a status of text", { ...ours, status: "success" }],
  ["a status without messages", { ...ours, status: { status_str: "error" } }],
  ["messages of another shape", { ...ours, status: { status_str: "error", messages: ["a", [], [1], null, {}] } }],
  ["messages that are no list", { ...ours, status: { status_str: "error", messages: { a: 1 } } }],
  ["a prompt of null", { ...ours, prompt: null }],
  ["a prompt that is an object", { ...ours, prompt: { 2: graph } }],
  ["a prompt that is too short", { ...ours, prompt: [1] }],
  ["a graph of null", { ...ours, prompt: [1, "x", null] }],
  ["nothing", null],
  ["a text", "done"],
  ["a number", 7],
  ["a list", [ours]],
  ["an empty object", {}],
];

describe("what ComfyUI tells of prompts", () => {
  for (const [what, entry] of strange) {
    it(`does not lose ours beside an entry with ${what}`, () => {
      for (const entries of [
        { other: entry, ours },
        { ours, other: entry },
      ]) {
        const found = historySchema.parse(entries).find(({ id }) => id === "ours");
        assert.deepEqual(found, { id: "ours", graph, state: "success", files: [file] });
      }
    });
  }

  for (const [what, entry, expected] of [
    ["a file without folder and type", { ...ours, outputs: { 21: { gifs: [{ filename: gif.filename }] } } }, "success"],
    [
      "files of null beside its own",
      { ...ours, outputs: { 1: null, 21: { images: 1, gifs: [null, gif] } } },
      "success",
    ],
    ["a video under the other name", { ...ours, outputs: { 21: { videos: [gif] } } }, "success"],
    ["a status of null", { ...ours, status: null }, "success"],
    ["no status", { prompt, outputs: ours.outputs }, "success"],
  ] as const) {
    it(`finds our video in an entry with ${what}`, () => {
      assert.deepEqual(historySchema.parse({ ours: entry }), [{ id: "ours", graph, state: expected, files: [file] }]);
    });
  }

  it("knows our failures, with as much of a reason as there is", () => {
    const failed = (messages: unknown) =>
      historySchema.parse({ ours: { prompt, outputs: {}, status: { status_str: "error", messages } } })[0];
    const error = {
      node_id: 34,
      node_type: "SONIC_PreData",
      exception_message: "it broke\n",
      traceback: ["/app/x.py"],
    };
    assert.equal(failed([["execution_error", error]])?.error, "ComfyUI failed in SONIC_PreData (node 34): it broke");
    for (const messages of [[["execution_error", null]], [["execution_error"]], ["execution_error"], null, []]) {
      assert.deepEqual(
        [failed(messages)?.state, failed(messages)?.error],
        ["failed", "ComfyUI failed: no reason given"],
      );
    }
    assert.equal(
      failed([
        ["execution_start", {}],
        ["execution_interrupted", error],
      ])?.state,
      "interrupted",
    );
  });

  it("takes an answer that is no history for none", () => {
    for (const answer of [null, [], "x", 3, undefined]) assert.equal(historySchema.safeParse(answer).success, false);
  });

  it("counts what waits in the queue, whatever its shape", () => {
    const items = [["a", "b", {}], [3], [4, null], { prompt_id: "x" }, null, "words", [], prompt];
    const { queue_running, queue_pending } = queueSchema.parse({ queue_running: [prompt], queue_pending: items });
    assert.deepEqual(queue_running, [{ id: "ours", graph }]);
    assert.equal(
      queue_pending.findIndex(({ id }) => id === "ours"),
      items.length - 1,
    );
    assert.equal(queueSchema.safeParse({ queue_running: [] }).success, false);
  });
});
