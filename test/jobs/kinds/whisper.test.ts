import assert from "node:assert/strict";
import { whisperSchema } from "../../../src/jobs/kinds/whisper.ts";

const schema = whisperSchema({ maxTimeSeconds: 1200, completeInSeconds: 3600 });
const AUDIO_URL = "https://example.com/talk.mp4";
const inputOf = (body: object) => schema.parse({ audio_url: AUDIO_URL, ...body }).input;
const fieldsOf = (body: object) =>
  schema.safeParse({ audio_url: AUDIO_URL, ...body }).error?.issues.map((issue) => issue.path.join("."));

describe("the body of POST /whisper", () => {
  it("takes a URL alone, with every default", () => {
    assert.deepEqual(inputOf({}), { audioUrl: AUDIO_URL, model: "medium", task: "transcribe", language: "" });
  });

  it("has the common fields with the operator's defaults", () => {
    const operators = whisperSchema({ maxTimeSeconds: 90, completeInSeconds: 120 });
    const { max_time, complete_in, priority, metadata, notify_url } = operators.parse({ audio_url: AUDIO_URL });
    assert.deepEqual(
      [max_time, complete_in, priority, metadata, notify_url],
      [90, 120, "normal", undefined, undefined],
    );
    const notifyUrl = "https://example.com/hook";
    const given = operators.parse({
      audio_url: AUDIO_URL,
      max_time: "61.9",
      complete_in: 86_400,
      priority: "high",
      metadata: { customer: { number: 7 } },
      notify_url: notifyUrl,
    });
    assert.equal(given.max_time, 61);
    assert.equal(given.complete_in, 86_400);
    assert.equal(given.priority, "high");
    assert.deepEqual(given.metadata, { customer: { number: 7 } });
    assert.equal(given.notify_url, notifyUrl);
  });

  it("refuses common fields that are out of bounds, each by its name", () => {
    const body = {
      max_time: 59,
      complete_in: 86_401,
      priority: "urgent",
      metadata: [],
      notify_url: "ftp://a.example/",
    };
    assert.deepEqual(fieldsOf(body)?.sort(), Object.keys(body).sort());
    assert.deepEqual(fieldsOf({ max_time: 7201 }), ["max_time"]);
    assert.deepEqual(fieldsOf({ metadata: { text: "é".repeat(2100) } }), ["metadata"]);
  });

  it("wants an http(s) URL", () => {
    assert.deepEqual(fieldsOf({ audio_url: undefined }), ["audio_url"]);
    for (const url of ["", "talk.mp3", "/etc/passwd", "file:///etc/passwd", "ftp://example.com/a.mp3", "data:,a", 7]) {
      assert.deepEqual(fieldsOf({ audio_url: url }), ["audio_url"], String(url));
    }
    const linkOf = (length: number) => "https://example.com/".padEnd(length, "a");
    assert.equal(fieldsOf({ audio_url: linkOf(8192) }), undefined);
    const { issues = [] } = schema.safeParse({ audio_url: linkOf(8193) }).error ?? {};
    assert.deepEqual(
      issues.map(({ path, message }) => [path, message]),
      [[["audio_url"], "must be at most 8192 characters"]],
    );
  });

  it("knows the models and the tasks of the app, and no others", () => {
    for (const model of ["tiny", "base", "small", "medium", "large", "large-v2", "large-v3"]) {
      assert.equal(inputOf({ model }).model, model);
    }
    for (const task of ["transcribe", "translate"]) assert.equal(inputOf({ task }).task, task);
    assert.deepEqual(fieldsOf({ model: "huge", task: "summarize" }), ["model", "task"]);
    assert.equal(inputOf({ model: "" }).model, "medium");
  });

  it("takes a language as people write it, and lists the codes when there is none", () => {
    for (const language of ["", "en", "yue", "haw"]) assert.equal(inputOf({ language }).language, language);
    for (const [written, code] of [
      [" de ", "de"],
      ["EN", "en"],
      ["en-US", "en"],
      ["auto", ""],
    ] as const)
      assert.equal(inputOf({ language: written }).language, code);
    for (const language of ["zz", "klingon", 7]) assert.deepEqual(fieldsOf({ language }), ["language"]);
  });

  it("ignores what it does not know", () => {
    assert.deepEqual(inputOf({ device: "cpu", text: "" }), inputOf({}));
  });
});
