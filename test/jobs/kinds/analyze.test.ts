import assert from "node:assert/strict";
import { analyzeSchema } from "../../../src/jobs/kinds/analyze.ts";

const MAX_TEXT_CHARS = 100;
const IMAGE_URL = "https://example.com/cat.webp";
const schema = analyzeSchema({
  maxTimeSeconds: 1200,
  completeInSeconds: 3600,
  maxTextChars: MAX_TEXT_CHARS,
  models: ["llama3.2-vision:11b", "llava:7b"],
});
const inputOf = (body: object) => schema.parse({ image_url: IMAGE_URL, ...body }).input;
const fieldsOf = (body: object) =>
  schema.safeParse({ image_url: IMAGE_URL, ...body }).error?.issues.map((issue) => issue.path.join("."));

describe("the body of POST /analyze", () => {
  it("takes a picture alone: a description in detail, by the first model of the operator", () => {
    const { prompt, ...rest } = inputOf({});
    assert.deepEqual(rest, { imageUrl: IMAGE_URL, model: "llama3.2-vision:11b" });
    assert.match(prompt, /describe/i);
    assert.match(prompt, /detail/);
  });

  it("wants the picture", () => {
    assert.deepEqual(fieldsOf({ image_url: undefined }), ["image_url"]);
    assert.deepEqual(fieldsOf({ image_url: "file:///etc/passwd" }), ["image_url"]);
    assert.deepEqual(fieldsOf({ image_url: null }), ["image_url"]);
  });

  it("asks what it is told to ask, without the space around it", () => {
    assert.equal(inputOf({ prompt: " What colour is the cat?\n" }).prompt, "What colour is the cat?");
    assert.deepEqual(fieldsOf({ prompt: " \n" }), ["prompt"]);
    assert.deepEqual(fieldsOf({ prompt: ["a"] }), ["prompt"]);
  });

  it("limits the prompt to the operator's number of characters", () => {
    assert.equal(inputOf({ prompt: "a".repeat(MAX_TEXT_CHARS) }).prompt.length, MAX_TEXT_CHARS);
    assert.deepEqual(fieldsOf({ prompt: "a".repeat(MAX_TEXT_CHARS + 1) }), ["prompt"]);
  });

  it("takes only the models that the operator lists", () => {
    assert.equal(inputOf({ model: "llava:7b" }).model, "llava:7b");
    assert.deepEqual(fieldsOf({ model: "llava:13b" }), ["model"]);
    assert.equal(inputOf({ model: "" }).model, "llama3.2-vision:11b");
  });
});
