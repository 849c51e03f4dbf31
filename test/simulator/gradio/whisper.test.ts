import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createJournal } from "../../../src/simulator/control/journal.ts";
import { createWhisperApp } from "../../../src/simulator/gradio/whisper.ts";
import { createMedia, SAMPLE_RATE, wavOf } from "../../../src/simulator/sound/media.ts";

const SECONDS = 2;

describe("the simulated WhisperX app", () => {
  let folder: string;
  let sound: string;
  let detects = "en";
  let renderSeconds: number | undefined;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-whisper-"));
    sound = join(folder, "sound.wav");
    await writeFile(sound, wavOf(new Int16Array(SAMPLE_RATE * SECONDS)));
  });
  after(() => rm(folder, { recursive: true, force: true }));
  beforeEach(() => {
    detects = "en";
    renderSeconds = undefined;
  });

  async function transcribe(overrides: Record<string, unknown> = {}) {
    const app = createWhisperApp({
      journal: createJournal(),
      media: createMedia(),
      folder,
      fileParameter: () => "audio_file",
      detects: () => detects,
      speed: () => 0,
      renderSeconds: () => renderSeconds,
    });
    const defaults = Object.fromEntries(app.parameters.map(({ name, initial }) => [name, initial]));
    const args = { ...defaults, audio_file: sound, language: "", ...overrides };
    const [text, files] = await app.run({ id: "run", node: "node", arguments: args, progress: () => {} });
    return { text: String(text), files: (files as { file: string }[]).map(({ file }) => basename(file)) };
  }

  for (const language of ["en", "de", "zh", "nn", "", null]) {
    it(`writes down what is said in ${JSON.stringify(language)}`, async () => {
      const { text, files } = await transcribe({ language });
      assert.match(text, /^This transcript is simulated/);
      assert.equal(files.length, 6);
    });
  }

  for (const language of ["EN", "en-US", "auto", "zz", "english", " en"]) {
    it(`does not know ${JSON.stringify(language)}`, async () => {
      const { text, files } = await transcribe({ language });
      const start = `Error: '${language}' is not a valid language code (accepted language codes: af, am, ar, as, `;
      assert.ok(text.startsWith(start), text);
      assert.ok(text.endsWith(", yi, yo, yue, zh)"), text);
      assert.deepEqual(files, []);
    });
  }

  for (const language of ["th", "yue", "haw", "jw", "cy", "id"]) {
    it(`loses what is said in ${language}, told or detected, unless it does not align`, async () => {
      const lost = { text: `Error: No default align-model for language: ${language}`, files: [] };
      detects = language;
      for (const told of [language, ""]) {
        assert.deepEqual(await transcribe({ language: told }), lost);
        assert.equal((await transcribe({ language: told, no_align: true })).files.length, 6);
      }
      assert.deepEqual(await transcribe({ task: "translate" }), lost);
    });
  }

  it("takes its time before it says that it cannot align", async () => {
    renderSeconds = 0.3;
    const startedAt = performance.now();
    await transcribe({ language: "th" });
    assert.ok(performance.now() - startedAt >= 290);
  });
});
