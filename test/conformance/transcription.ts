import assert from "node:assert/strict";
import type { GradioRun } from "../support/gradioNode.ts";
import { NODE_KEY, type Service, type Version } from "./service.ts";

/** The transcription application, through the whole service. */
export function transcription(service: () => Service, { small }: Version): void {
  const runs = async () => (await service().node.runs()).filter(({ app }) => app === "whisper");
  const lastRun = async () => (await runs()).at(-1) as GradioRun;

  async function transcribed(body: object = {}) {
    const id = await service().submit("/whisper", { audio_url: await service().recording(5), ...body });
    const document = await service().succeeded(id);
    const { text } = await service().get(`/result/${id}`);
    return { text: String(text), files: document.files, runs: await runs() };
  }

  it("writes down a recording: every file comes whole, although the application would compress it", async () => {
    const { text, files, runs } = await transcribed({ language: "en" });
    const { no_align, word_timestamps } = runs[0]?.arguments ?? {};
    assert.deepEqual([runs.length, no_align, word_timestamps], [1, false, true]);
    assert.match(text, /^A recording of 5\.\d seconds, heard\.\nSentence number 2 of what was heard\.\n/);
    const contents: Record<string, string> = {};
    for (const { name, url, bytes } of files) {
      const content = await (await fetch(url)).text();
      assert.equal(Buffer.byteLength(content), bytes, name);
      assert.ok(bytes >= 400, `${name} has only ${bytes} bytes`);
      assert.ok(content.includes("Sentence number 20 of"), `${name}: ${content}`);
      contents[name.split(".").at(-1) ?? ""] = content;
    }
    assert.deepEqual(Object.keys(contents).sort(), ["html", "json", "srt", "txt", "vtt"]);
    assert.equal(JSON.parse(contents.json ?? "").segments.length, 20);
    const requests = (await service().node.requests()).filter(({ path }) => path.includes("file="));
    assert.ok(requests.length >= 4, JSON.stringify(requests));
    for (const { path, contentEncoding } of requests) assert.equal(contentEncoding, "", path);
  });

  if (small) return;

  it("plays what the real application does: it compresses a file for whoever takes that", async () => {
    await transcribed();
    const request = (await service().node.requests()).find(({ path }) => path.endsWith(".json"));
    const answer = await fetch(`${service().node.url}${encodeURI(request?.path ?? "")}`, {
      headers: { "X-C3-API-KEY": NODE_KEY, "Accept-Encoding": "gzip, br" },
    });
    assert.ok(["gzip", "br"].includes(answer.headers.get("content-encoding") ?? ""), String(answer.status));
    await answer.body?.cancel();
  });

  it("sends every option by its name, and leaves the others as the application has them", async () => {
    const { text } = await transcribed({ model: "large-v3", task: "translate", language: "de" });
    assert.match(text, /translated/);
    const { arguments: given, recording } = await lastRun();
    const expected = {
      model: "large-v3",
      task: "translate",
      language: "de",
      device: "cuda",
      compute_type: "float16",
      batch_size: 16,
      vad_method: "pyannote",
      // The words of a translation are not those that were spoken.
      no_align: true,
      segment_resolution: "sentence",
      diarize: false,
      chunk_size: 30,
      suppress_tokens: "-1",
    };
    for (const [name, value] of Object.entries(expected)) assert.deepEqual(given[name], value, name);
    assert.ok(Math.abs((recording?.seconds ?? 0) - 5) < 0.5, JSON.stringify(recording));
  });

  for (const language of ["th", "yue", "haw", "cy"]) {
    it(`writes down ${language}, for which there is no alignment model`, async () => {
      const { files } = await transcribed({ language });
      assert.equal(files.length, 5);
      assert.deepEqual(await outcomes(), ["heard"], "aligning is not even tried");
    });
  }

  it("writes down what turns out to be in a language without an alignment model: once more, without aligning", async () => {
    await service().node.set({ detected_language: "cy" });
    const { files } = await transcribed();
    assert.equal(files.length, 5);
    assert.deepEqual(await outcomes(), ["No default align-model for language: cy", "heard"]);
  });

  async function outcomes() {
    return (await runs()).map(({ error }) => error ?? "heard");
  }

  for (const [written, arrives] of [
    ["EN", "en"],
    ["en-US", "en"],
    ["auto", ""],
    ["", ""],
  ] as const) {
    it(`understands the language "${written}"`, async () => {
      await transcribed({ language: written });
      assert.equal((await lastRun()).arguments.language, arrives);
    });
  }

  it("refuses a language that there is not, before a GPU is asked for, and lists those that there are", async () => {
    const body = JSON.stringify({ audio_url: await service().recording(5), language: "zz" });
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(`${service().stack.apiUrl}/whisper`, { method: "POST", headers, body });
    assert.equal(answer.status, 400);
    assert.match(await answer.text(), /language.*\bde\b.*\byue\b/s);
    assert.deepEqual(await runs(), []);
  });

  it("keeps letters of every script", async () => {
    const transcript = "Größe, naïve, 日本語, ไทย, “quoted” <b>&amp;</b>. ".repeat(20).trim();
    await service().node.set({ transcript });
    const { text, files } = await transcribed();
    assert.equal(text, transcript);
    const json = files.find(({ name }) => name.endsWith(".json"));
    assert.ok((await (await fetch(json?.url ?? "")).text()).includes(transcript));
  });
}
