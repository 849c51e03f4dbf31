import assert from "node:assert/strict";
import fc from "fast-check";
import { submissionSchemas } from "../../src/api/jobs/submissionSchemas.ts";
import { loadConfig } from "../../src/config/index.ts";

const schemas = submissionSchemas(loadConfig({ ALLOW_LOCAL_PATHS: "/srv" }));
type Type = keyof typeof schemas;

const URL_OF = { image: "https://example.com/a.jpg", audio: "https://example.com/a.mp3" };
/** What each kind needs at least. */
const least: Record<Type, Record<string, unknown>> = {
  csm: { text: "Hello." },
  whisper: { audio_url: URL_OF.audio },
  portrait: { image_url: URL_OF.image },
  analyze: { image_url: URL_OF.image },
  lipsync: { image_url: URL_OF.image, audio_url: URL_OF.audio },
};
const common = ["notify_url", "max_time", "complete_in", "priority", "metadata"];
const speech = ["monologue", "voice", "reference_audio_url", "reference_text"];
const speechNumbers = ["temperature", "topk", "max_audio_length", "pause_duration"];
const numbers = new Set(["max_time", "complete_in", ...speechNumbers]);
const optional: Record<Type, string[]> = {
  csm: [...common, ...speech, ...speechNumbers, "audio_url", "audio_text"],
  whisper: [...common, "model", "task", "language"],
  portrait: [...common, ...speech, ...speechNumbers, "text", "audio_url"],
  analyze: [...common, "prompt", "model"],
  lipsync: [...common, "video_url", "video_path", "image_path", "audio_path", "version"],
};
const types = Object.keys(least) as Type[];

function parsed(type: Type, body: unknown): unknown {
  return schemas[type].parse(body);
}
function problemsOf(type: Type, body: unknown): Record<string, string> {
  const issues = schemas[type].safeParse(body).error?.issues ?? [];
  return Object.fromEntries(issues.map(({ path, message }) => [path.join("."), message]));
}

describe("a field of a submission that says nothing", () => {
  for (const type of types) {
    for (const field of optional[type]) {
      const nothing = numbers.has(field) ? [null] : [null, ""];
      for (const value of nothing) {
        it(`is left out: ${type} with "${field}": ${JSON.stringify(value)}`, () => {
          assert.deepEqual(parsed(type, { ...least[type], [field]: value }), parsed(type, least[type]));
        });
      }
    }

    it(`is left out of ${type} when there are many of them`, () => {
      const some = fc.subarray(optional[type]);
      fc.assert(
        fc.property(some, fc.array(fc.constantFrom(null, ""), { minLength: 20, maxLength: 20 }), (fields, values) => {
          const nothing = fields.map((field, index) => [field, numbers.has(field) ? null : values[index]]);
          const body = { ...least[type], ...Object.fromEntries(nothing) };
          assert.deepEqual(parsed(type, body), parsed(type, least[type]));
        }),
      );
    });

    it(`is missed in ${type}, in the same words, where it is required`, () => {
      for (const field of Object.keys(least[type])) {
        const { [field]: _given, ...rest } = least[type];
        const missing = problemsOf(type, rest);
        for (const value of [null, ""]) assert.deepEqual(problemsOf(type, { ...rest, [field]: value }), missing);
      }
    });
  }

  it("is a mistake where a number is wanted and a text is empty", () => {
    for (const type of types) {
      for (const field of optional[type].filter((name) => numbers.has(name))) {
        for (const value of ["", " "])
          assert.deepEqual(Object.keys(problemsOf(type, { ...least[type], [field]: value })), [field]);
      }
    }
  });

  it("is no field at all in other places: in metadata, and among the items of a monologue", () => {
    const metadata = { a: null, b: "", c: [null, ""] };
    assert.deepEqual(schemas.csm.parse({ text: "Hello.", metadata }).metadata, metadata);
    assert.deepEqual(Object.keys(problemsOf("csm", { monologue: ["Hello.", ""] })), ["monologue.1"]);
    assert.deepEqual(Object.keys(problemsOf("csm", { monologue: [null] })), ["monologue.0"]);
  });
});

/** Everything that a program may have left in a field. */
const leftovers = [undefined, null, "", " ", "not a URL", "https://example.com/voice.wav", 7, false, [], {}];

describe("a field that does not apply", () => {
  const fieldsOf: Record<string, string[]> = {
    csm: ["reference_audio_url", "reference_text", "audio_url", "audio_text"],
    portrait: ["reference_audio_url", "reference_text", "audio_text"],
  };
  for (const type of ["csm", "portrait"] as const) {
    const fields = fieldsOf[type] ?? [];
    for (const voice of ["random", "random_voice", "conversational_a", "conversational_b"]) {
      it(`is ignored: a reference beside the voice ${voice} in ${type}, whatever it is`, () => {
        const body = { ...least[type], text: "Hello.", voice };
        const values = fc.tuple(...fields.map(() => fc.constantFrom(...leftovers)));
        fc.assert(
          fc.property(values, (given) => {
            const reference = Object.fromEntries(fields.map((field, index) => [field, given[index]]));
            assert.deepEqual(parsed(type, { ...body, ...reference }), parsed(type, body));
          }),
          { numRuns: 500 },
        );
      });
    }

    it(`is ignored: a reference without a voice in ${type}, whatever it is`, () => {
      for (const voice of [undefined, null, ""]) {
        for (const [url, text] of leftovers.flatMap((one) => leftovers.map((other) => [one, other]))) {
          const body = { ...least[type], text: "Hello.", voice, reference_audio_url: url, reference_text: text };
          assert.deepEqual(parsed(type, body), parsed(type, { ...least[type], text: "Hello." }));
        }
      }
    });
  }

  it("is ignored: the older names beside the newer ones", () => {
    const newer = { reference_audio_url: "https://example.com/new.wav", reference_text: "newer" };
    const body = { text: "Hello.", voice: "clone", ...newer };
    const { input } = schemas.csm.parse(body);
    for (const value of leftovers) {
      for (const voice of value === undefined || value === null || value === "" ? ["clone"] : ["clone", undefined]) {
        assert.deepEqual(schemas.csm.parse({ ...body, voice, audio_url: value, audio_text: value }).input, input);
      }
    }
  });

  it("is ignored: what there is to say beside a recording that a portrait says", () => {
    const body = { image_url: URL_OF.image, audio_url: URL_OF.audio };
    const { input } = schemas.portrait.parse(body);
    for (const field of ["text", ...speech, ...speechNumbers]) {
      for (const value of [...leftovers, "clone"])
        assert.deepEqual(schemas.portrait.parse({ ...body, [field]: value }).input, input, field);
    }
  });

  it("is ignored: a monologue without items beside a text", () => {
    assert.deepEqual(schemas.csm.parse({ text: "Hello.", monologue: [] }).input.monologue, ["Hello."]);
    assert.deepEqual(schemas.csm.parse({ text: "", monologue: ["Hello."] }).input.monologue, ["Hello."]);
    assert.deepEqual(schemas.csm.parse({ text: null, monologue: ["Hello."] }).input.monologue, ["Hello."]);
    assert.deepEqual(Object.keys(problemsOf("csm", { monologue: [] })), ["monologue"]);
  });

  it("is not ignored where it applies", () => {
    const clone = { text: "Hello.", voice: "clone", reference_audio_url: URL_OF.audio, reference_text: "Said." };
    assert.deepEqual(problemsOf("csm", clone), {});
    for (const field of ["reference_audio_url", "reference_text"]) {
      for (const value of [null, ""]) {
        assert.match(problemsOf("csm", { ...clone, [field]: value })[field] ?? "", /is required/);
      }
    }
    assert.deepEqual(Object.keys(problemsOf("csm", { ...clone, reference_audio_url: "not a URL" })), [
      "reference_audio_url",
    ]);
    assert.deepEqual(Object.keys(problemsOf("csm", { text: "Hello.", audio_url: "not a URL", audio_text: "Said." })), [
      "audio_url",
    ]);
  });
});

describe("a URL of a submission", () => {
  const submitted = (url: unknown) => schemas.whisper.safeParse({ audio_url: url });
  const longest = "https://example.com/".padEnd(8192, "a");

  for (const url of [
    "http://example.com",
    "HTTPS://EXAMPLE.COM/a.mp3",
    "https://user:p%40ss@example.com:8443/a.mp3?token=t#f",
    "https://example.com/a file.mp3",
    "https://example.com/ä/日本.mp3",
    "https://bücher.example/a.mp3",
    "http://[2606:4700::1111]/a.mp3",
    longest,
  ]) {
    it(`is taken: ${url.slice(0, 60)}`, () => {
      assert.equal(submitted(url).data?.input.audioUrl, url);
      assert.equal(submitted(` ${url}\n`).data?.input.audioUrl, url);
    });
  }

  for (const [url, sentence] of [
    ["http:///x", /must be an http\(s\) URL/],
    ["http:////example.com/x", /must be an http\(s\) URL/],
    ["http:x", /must be an http\(s\) URL/],
    ["http:/example.com/x", /must be an http\(s\) URL/],
    ["http:\\\\example.com\\x", /must be an http\(s\) URL/],
    ["http://\\example.com", /must be an http\(s\) URL/],
    ["http://", /must be an http\(s\) URL/],
    ["https://?x", /must be an http\(s\) URL/],
    ["https://#x", /must be an http\(s\) URL/],
    ["https://:443/x", /must be an http\(s\) URL/],
    ["https://user@/x", /must be an http\(s\) URL/],
    ["https://example.com:99999/", /must be an http\(s\) URL/],
    ["https://exa mple.com/", /must be an http\(s\) URL/],
    ["https://[::1/", /must be an http\(s\) URL/],
    ["//example.com/a.mp3", /must be an http\(s\) URL/],
    ["example.com/a.mp3", /must be an http\(s\) URL/],
    ["ftp://example.com/a.mp3", /must be an http\(s\) URL/],
    ["javascript:alert(1)//http://example.com", /must be an http\(s\) URL/],
    ["https://exa\nmple.com/", /control characters or line breaks/],
    ["https://example.com/a\tb", /control characters or line breaks/],
    ["https://example.com/a\u0000b", /control characters or line breaks/],
    ["https://example.com/\u0085", /control characters or line breaks/],
    [`${longest}a`, /at most 8192 characters/],
    [`${"\u0000"}${longest}a`, /at most 8192 characters/],
  ] as const) {
    it(`is refused with a sentence: ${JSON.stringify(url.slice(0, 60))}`, () => {
      for (const [type, field] of [
        ["csm", "notify_url"],
        ["whisper", "audio_url"],
        ["portrait", "image_url"],
        ["analyze", "image_url"],
        ["lipsync", "audio_url"],
      ] as const) {
        assert.match(problemsOf(type, { ...least[type], [field]: url })[field] ?? "", sentence);
      }
    });
  }
});
