import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { messageOf } from "../../lib/text.ts";
import type { Journal } from "../control/journal.ts";
import { type Pace, takeTime } from "../control/timing.ts";
import type { Media } from "../sound/media.ts";
import { type GradioApp, GradioError, type MadeFile, type Parameter, type Run } from "./app.ts";
import { alignable, languageComplaint, languages } from "./whisperLanguages.ts";

export interface WhisperOptions extends Pace {
  journal: Journal;
  media: Media;
  folder: string;
  /** What this build of the app calls its file: `audio_file`, or `input_file` in newer ones. */
  fileParameter: () => string;
  /** The language that it takes a recording for, if it is not told. */
  detects: () => string;
}

interface Segment {
  start: number;
  end: number;
  text: string;
}

const argumentsSchema = z.object({
  model: z.string(),
  task: z.enum(["transcribe", "translate"]),
  language: z.string().nullable(),
  no_align: z.boolean(),
});

/** The model hears about twenty times as fast as a person. */
const SECONDS_PER_SOUND_SECOND = 0.05;
const MODELS = ["tiny", "base", "small", "medium", "large", "large-v2", "large-v3"];

/** The WhisperX speech-to-text app: what a simulated voice said, word for word; for anything else it says that it cannot hear. */
export function createWhisperApp(options: WhisperOptions): GradioApp {
  const { journal, media, folder } = options;

  async function transcribe(run: Run): Promise<{ text: string; files: MadeFile[] }> {
    const startedAt = performance.now();
    const { task, language, no_align } = argumentsSchema.parse(run.arguments);
    if (language && !languages.includes(language)) throw new Error(languageComplaint(language));
    const sound = z.string().parse(run.arguments[options.fileParameter()]);
    const seconds = await media.duration(sound);
    const heard =
      (await media.spokenText(sound)) ??
      `This transcript is simulated. The recording is ${seconds.toFixed(1)} seconds long.`;
    const text = task === "translate" ? `(simulated translation) ${heard}` : heard;
    const segments = segmentsOf(text, seconds);
    const spoken = language || options.detects();
    for (const index of segments.keys()) run.progress(index, segments.length, "Transcribing");
    // As in the real app, this comes after the work, and what was heard is lost; whatever the task.
    if (!no_align && !alignable.includes(spoken)) {
      await takeTime(options, startedAt, seconds * SECONDS_PER_SOUND_SECOND);
      throw new Error(`No default align-model for language: ${spoken}`);
    }
    const place = join(folder, `transcript-${run.id}`);
    await mkdir(place, { recursive: true });
    const files = await Promise.all(
      Object.entries(formats).map(async ([extension, write]) => {
        const file = join(place, `transcript.${extension}`);
        await writeFile(file, write(segments, spoken));
        return { file };
      }),
    );
    await takeTime(options, startedAt, seconds * SECONDS_PER_SOUND_SECOND);
    return { text, files };
  }

  return {
    service: "whisper",
    endpoint: "/transcribe_audio",
    outputs: ["Textbox", "File"],
    get parameters() {
      return parametersOf(options.fileParameter());
    },

    validate({ model }) {
      return MODELS.includes(String(model)) ? undefined : `Value: ${model} is not in the list of choices: ${MODELS}`;
    },

    async run(run) {
      const { id, node } = run;
      const render = journal.render({ id, node, kind: "whisper", startedAt: Date.now(), arguments: run.arguments });
      const ended = (outcome: "success" | "error") => {
        if (render.outcome === undefined) Object.assign(render, { finishedAt: Date.now(), outcome });
      };
      try {
        const file = run.arguments[options.fileParameter()];
        if (typeof file === "string") render.file = { bytes: (await stat(file)).size };
        const { text, files } = await transcribe(run);
        ended("success");
        return [text, files];
      } catch (error) {
        ended("error");
        if (error instanceof z.ZodError) throw new GradioError("the app was called with something strange");
        return failure(messageOf(error));
      }
    },

    failure,
  };
}

/** As the real app does: a success that says "Error". */
function failure(reason: string): [string, MadeFile[]] {
  return [`Error: ${reason}`, []];
}

/** As many of the real app's parameters as show that they must be passed by name. */
function parametersOf(file: string): Parameter[] {
  return [
    { name: file, component: "Audio" },
    { name: "model", component: "Dropdown", initial: "medium" },
    { name: "task", component: "Radio", initial: "transcribe" },
    { name: "language", component: "Dropdown", initial: "en" },
    { name: "device", component: "Radio", initial: "cuda" },
    { name: "device_index", component: "Number", initial: 0 },
    { name: "batch_size", component: "Slider", initial: 8 },
    { name: "compute_type", component: "Radio", initial: "float16" },
    { name: "align_model", component: "Textbox", initial: "" },
    { name: "no_align", component: "Checkbox", initial: false },
    { name: "vad_method", component: "Radio", initial: "silero" },
    { name: "chunk_size", component: "Slider", initial: 30 },
    { name: "diarize", component: "Checkbox", initial: false },
    { name: "temperature", component: "Slider", initial: 0 },
    { name: "beam_size", component: "Slider", initial: 5 },
    { name: "initial_prompt", component: "Textbox", initial: "" },
    { name: "word_timestamps", component: "Checkbox", initial: false },
    { name: "max_line_width", component: "Number", initial: 0 },
    { name: "segment_resolution", component: "Radio", initial: "chunk" },
  ];
}

/** The sentences, each as long as its share of the letters. */
function segmentsOf(text: string, seconds: number): Segment[] {
  const sentences = Array.from(new Intl.Segmenter("en", { granularity: "sentence" }).segment(text));
  let letters = 0;
  return sentences.map(({ segment }) => {
    const start = (letters / text.length) * seconds;
    letters += segment.length;
    return { start, end: (letters / text.length) * seconds, text: segment.trim() };
  });
}

const formats: Record<string, (segments: Segment[], language: string) => string> = {
  txt: (segments) => segments.map(({ text }) => text).join("\n"),
  json: (segments, language) => {
    const words = ({ text, start, end }: Segment) =>
      text.split(/\s+/).map((word) => ({ word, start, end, score: 0.5 }));
    const timed = segments.map((segment) => ({ ...segment, words: words(segment) }));
    return JSON.stringify({ segments: timed, language }, undefined, 2);
  },
  srt: (segments) =>
    segments
      .map(({ start, end, text }, index) => `${index + 1}\n${clock(start, ",")} --> ${clock(end, ",")}\n${text}\n`)
      .join("\n"),
  vtt: (segments) =>
    [
      "WEBVTT\n",
      ...segments.map(({ start, end, text }) => `${clock(start, ".")} --> ${clock(end, ".")}\n${text}\n`),
    ].join("\n"),
  tsv: (segments) =>
    [
      "start\tend\ttext",
      ...segments.map(({ start, end, text }) => `${Math.round(start * 1000)}\t${Math.round(end * 1000)}\t${text}`),
    ].join("\n"),
  html: (segments) => {
    const escaped = segments.map(({ text }) => `<p>${text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</p>`);
    return `<!DOCTYPE html><title>Transcript (simulated)</title>${escaped.join("")}`;
  },
};

function clock(seconds: number, separator: string): string {
  return new Date(seconds * 1000).toISOString().slice(11, 23).replace(".", separator);
}
