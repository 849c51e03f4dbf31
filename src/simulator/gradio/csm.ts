import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { messageOf } from "../../lib/text.ts";
import type { Journal, Render } from "../control/journal.ts";
import { type Pace, takeTime } from "../control/timing.ts";
import { type Media, type Pcm, SAMPLE_RATE } from "../sound/media.ts";
import { pitchOf } from "../sound/pitch.ts";
import { concatenate, type FliteVoice, type Speech } from "../sound/speech.ts";
import { type GradioApp, GradioError, type MadeFile, type Run } from "./app.ts";
import { builtInPrompt, soundTokens, textTokens, windowComplaint } from "./csmWindow.ts";

export interface CsmOptions extends Pace {
  journal: Journal;
  media: Media;
  speech: Speech;
  /** Where the results are kept. */
  folder: string;
}

const ranges: Record<string, [number, number]> = {
  temperature: [0.1, 2],
  topk: [1, 100],
  max_audio_length: [1000, 30_000],
  pause_duration: [0, 1000],
};

const voices = z.enum(["random_voice", "conversational_a", "conversational_b", "upload_voice"]);
const argumentsSchema = z.object({
  speaker_voice: voices,
  speaker_text: z.string().nullable(),
  speaker_audio: z.string().nullable(),
  monologue_json: z.string(),
  max_audio_length: z.number(),
  pause_duration: z.number(),
});
type Arguments = z.infer<typeof argumentsSchema>;

/** The model speaks about twice as fast as a person. */
const SECONDS_PER_SOUND_SECOND = 0.5;
/** The usual pitch of the voices, in hertz. */
const pitches: Record<FliteVoice, number> = { slt: 180, rms: 95, awb: 130 };

/** The CSM text-to-speech app: the monologue, really spoken, as an MP3. */
export function createCsmApp(options: CsmOptions): GradioApp {
  const { journal, media, speech, folder } = options;

  async function voiceOf(voice: string, reference: string | null): Promise<{ voice: FliteVoice; factor: number }> {
    if (voice === "conversational_a") return { voice: "slt", factor: 1 };
    if (voice === "conversational_b") return { voice: "rms", factor: 1 };
    // As in the real app, a clone without its file silently gets a random voice.
    if (voice !== "upload_voice" || reference === null) return { voice: "awb", factor: 1 };
    const pitch = pitchOf(await media.decode(reference));
    const nearest: FliteVoice = pitch === undefined ? "awb" : pitch > 140 ? "slt" : "rms";
    return { voice: nearest, factor: pitch === undefined ? 1 : pitch / pitches[nearest] };
  }

  /** How much of the window the voice takes. */
  async function promptOf({ speaker_voice, speaker_audio, speaker_text }: Arguments): Promise<number> {
    if (speaker_voice === "random_voice") return 0;
    if (speaker_voice !== "upload_voice") return builtInPrompt();
    if (speaker_audio === null) return 0;
    return soundTokens(await media.duration(speaker_audio)) + textTokens(speaker_text ?? "");
  }

  async function render(run: Run, journalled: Render): Promise<MadeFile> {
    const startedAt = performance.now();
    const args = argumentsSchema.parse(run.arguments);
    const items = z.array(z.string()).parse(JSON.parse(args.monologue_json));
    if (args.speaker_audio !== null) journalled.reference = await describe(args.speaker_audio);
    const hash = createHash("sha256").update(JSON.stringify(args)).digest("hex").slice(0, 16);
    const file = join(folder, `monologue_${hash}.mp3`);
    if (!existsSync(file)) await make(file, items, args, run);
    // At 64 kbit/s a second of sound is 8,000 bytes.
    await takeTime(options, startedAt, ((await stat(file)).size / 8000) * SECONDS_PER_SOUND_SECOND);
    return { file };
  }

  async function make(file: string, items: string[], args: Arguments, run: Run): Promise<void> {
    const { voice, factor } = await voiceOf(args.speaker_voice, args.speaker_audio);
    const parts: Pcm[] = [];
    let context = await promptOf(args);
    for (const [index, item] of items.entries()) {
      const complaint = windowComplaint(context, item, args.max_audio_length);
      if (complaint !== undefined) throw new Error(complaint);
      run.progress(index, items.length, "Generating");
      const wanted = (args.max_audio_length / 1000) * factor;
      const whole = resample(await speech.speak(voice, item, wanted), factor);
      const sound = whole.subarray(0, samples(args.max_audio_length));
      context += textTokens(item) + soundTokens(sound.length / SAMPLE_RATE);
      parts.push(sound);
      if (index < items.length - 1) parts.push(new Int16Array(samples(args.pause_duration)));
    }
    await writeFile(file, await media.encodeMp3(concatenate(parts), items.join(" ")));
  }

  async function describe(path: string) {
    return { name: basename(path), bytes: (await stat(path)).size, channels: await media.channels(path) };
  }

  return {
    service: "csm",
    endpoint: "/generate_monologue_audio",
    outputs: ["Audio"],
    parameters: [
      { name: "speaker_voice", component: "Dropdown", initial: "random_voice" },
      { name: "speaker_text", component: "Textbox" },
      { name: "speaker_audio", component: "Audio" },
      { name: "monologue_json", component: "Textbox", initial: "[]" },
      { name: "temperature", component: "Slider", initial: 0.9 },
      { name: "topk", component: "Slider", initial: 50 },
      { name: "max_audio_length", component: "Slider", initial: 10_000 },
      { name: "pause_duration", component: "Slider", initial: 150 },
    ],

    validate(args, version) {
      // Gradio 4 looks at the choices of a list, and not at the ends of a slider.
      if (!voices.safeParse(args.speaker_voice).success) {
        return `Value: ${args.speaker_voice} is not in the list of choices: ${JSON.stringify(voices.options)}`;
      }
      if (version === "4.44") return undefined;
      for (const [name, [minimum, maximum]] of Object.entries(ranges)) {
        const value = Number(args[name]);
        if (value > maximum) return `Value ${value} is greater than maximum value ${maximum.toFixed(1)}.`;
        if (value < minimum) return `Value ${value} is less than minimum value ${minimum.toFixed(1)}.`;
      }
      return undefined;
    },

    async run(run) {
      const { id, node } = run;
      const journalled = journal.render({ id, node, kind: "csm", startedAt: Date.now(), arguments: run.arguments });
      const ended = (outcome: "success" | "error") => {
        // A node that went down in the meantime has said so.
        if (journalled.outcome !== undefined) return;
        Object.assign(journalled, { finishedAt: Date.now(), outcome });
      };
      try {
        const made = await render(run, journalled);
        ended("success");
        return [made];
      } catch (error) {
        ended("error");
        throw new GradioError(`Generation failed: ${messageOf(error)}`);
      }
    },
  };
}

function samples(milliseconds: number): number {
  return Math.round((SAMPLE_RATE * milliseconds) / 1000);
}

/** Plays the sound `factor` times as fast, and so as high. */
function resample(sound: Pcm, factor: number): Pcm {
  if (factor === 1) return sound;
  const result = new Int16Array(Math.floor(sound.length / factor));
  for (let index = 0; index < result.length; index += 1) result[index] = sound[Math.floor(index * factor)] ?? 0;
  return result;
}
