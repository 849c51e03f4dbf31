import assert from "node:assert/strict";
import { lipsyncArguments, readAnswer, sentenceOf } from "../../../src/activities/models/lipsyncContract.ts";

const url = "https://files.example/out.mp4?signature=secret";
const path = "/outputs/1.mp4";
const bytes = new Uint8Array([1, 2, 3]);
const call = {
  jobId: "job-1",
  version: "v15",
  links: { image_url: "https://a.example/i", audio_url: "https://a.example/s" },
};

describe("the contracts of lip-sync functions", () => {
  it("call each function with its own arguments, and no others", () => {
    assert.deepEqual(lipsyncArguments("c3-render", call), { job_id: "job-1", version: "v15", ...call.links });
    assert.deepEqual(lipsyncArguments("musetalk-poc", call), {
      video_path: null,
      audio_path: null,
      video_url: null,
      ...call.links,
      version: "v15",
      use_float16: true,
    });
  });

  for (const [what, answer, video] of [
    ["an address", { output_url: url }, { url }],
    ["a path", { output_path: path }, { outputPath: path }],
    ["bytes", { output: bytes }, { bytes }],
    ["all three", { output_url: url, output_path: path, output: bytes }, { url, outputPath: path, bytes }],
    ["a status beside it", { status: "completed", output_path: path, error: null }, { outputPath: path }],
    ["nulls beside it", { output_url: null, output_path: path, output: null }, { outputPath: path }],
    ["an empty path beside it", { output_url: url, output_path: "" }, { url }],
    ["it in a result", { status: "success", result: { output_url: url } }, { url }],
    ["it in an output", { output: { url } }, { url }],
    ["it in a list", [{ output_path: path }, 3], { outputPath: path }],
    ["an address as the output", { output: url }, { url }],
    ["a path as the output", { status: "ok", output: "out/1.mp4" }, { outputPath: "out/1.mp4" }],
    ["nothing but bytes", bytes, { bytes }],
    ["nothing but an address", url, { url }],
    ["nothing but a path", path, { outputPath: path }],
    ["bytes under another name", { video_bytes: bytes, fps: 25 }, { bytes }],
    ["its own arguments again", { output_path: path, video_url: "https://a.example/in" }, { outputPath: path }],
    ["a message of success", { success: true, message: "done", output_url: url }, { url }],
  ] as const) {
    it(`find the video in an answer with ${what}`, () => {
      assert.deepEqual(readAnswer(answer), { kind: "video", ...video });
    });
  }

  for (const [what, answer, reason] of [
    ["a status", { status: "failed", error: "no face" }, "no face"],
    ["a status in capitals", { status: "FAILED", message: "no face" }, "no face"],
    ["a status alone", { status: "error" }, "no reason given"],
    ["an error alone", { error: "no face" }, "no face"],
    ["success that is false", { success: false, detail: "no face" }, "no face"],
    ["an error that is an object", { status: "failed", error: { code: 5 } }, '{"code":5}'],
    ["a path all the same", { status: "failed", output_path: path, error: "half of it" }, "half of it"],
    ["a result around it", { result: { status: "failed", error: "no face" } }, "no face"],
    ["a list around it", [{ status: "failed", error: "no face" }], "no face"],
    ["many lines", { status: "failed", error: "no face\n  at line 3" }, "no face"],
    [
      "a traceback",
      { status: "failed", error: 'Traceback (most recent call last):\n  File "a.py"\nValueError: no face\n' },
      "ValueError: no face",
    ],
    ["a link", { status: "failed", error: `404 for ${url}` }, "404 for https://files.example/out.mp4"],
  ] as const) {
    it(`know a failure that is told as a value: ${what}`, () => {
      assert.deepEqual(readAnswer(answer), { kind: "failed", reason });
    });
  }

  for (const answer of [
    null,
    undefined,
    7,
    "",
    "done",
    [],
    {},
    { status: "completed" },
    { output_url: "file:///etc" },
  ]) {
    it(`find nothing in ${JSON.stringify(answer)}`, () => {
      assert.deepEqual(readAnswer(answer), { kind: "unknown" });
    });
  }

  it("look into an answer no deeper than it makes sense", () => {
    let deep: object = { output_url: url };
    for (let level = 0; level < 10_000; level += 1) deep = { result: deep };
    assert.deepEqual(readAnswer(deep), { kind: "unknown" });
  });

  it("make one bounded line of what a function said", () => {
    assert.equal(sentenceOf("  \n"), "no reason given");
    assert.equal(sentenceOf("x".repeat(1000)).length, 300);
  });
});
