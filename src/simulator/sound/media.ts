import { spawn } from "node:child_process";
import { chmod } from "node:fs/promises";
import { basename } from "node:path";
import ffmpegInstaller from "@ffmpeg-installer/ffmpeg";
import ffprobeInstaller from "@ffprobe-installer/ffprobe";
import { limited } from "../../process/processLimits.ts";

/** 16-bit mono sound at `SAMPLE_RATE`. */
export type Pcm = Int16Array;
export const SAMPLE_RATE = 16_000;
const TIMEOUT_MS = 60_000;
const LIMITS = { memoryBytes: 1024 * 1024 * 1024, cpuSeconds: 900, fileBytes: 2 * 1024 * 1024 * 1024 };
/** The title of everything that is made here. */
const SIMULATED = "c3-render simulator";

export type Media = ReturnType<typeof createMedia>;

export interface TalkingVideo {
  /** Path of the picture, or of the video. */
  picture: string;
  still: boolean;
  sound: string;
  seconds: number;
  output: string;
}

/** What the simulated models need of ffmpeg. Paths default to the programs installed with the package. */
export function createMedia(paths: { ffmpeg?: string | undefined; ffprobe?: string | undefined } = {}) {
  const ffmpeg = executable(paths.ffmpeg, ffmpegInstaller.path);
  const ffprobe = executable(paths.ffprobe, ffprobeInstaller.path);
  return {
    /** An MP3 with `text` in its comment tag, so that a simulated transcription can tell what was said. */
    async encodeMp3(pcm: Pcm, text: string): Promise<Buffer> {
      const input = ["-f", "s16le", "-ar", `${SAMPLE_RATE}`, "-ac", "1", "-i", "pipe:0"];
      const tags = ["-metadata", `title=${SIMULATED}`, "-metadata", `comment=${text}`];
      const output = ["-codec:a", "libmp3lame", "-b:a", "64k", "-id3v2_version", "3", "-f", "mp3", "pipe:1"];
      return await run(await ffmpeg, [...input, ...tags, ...output], bytesOf(pcm));
    },

    /** The sound of any file, mixed to mono. */
    async decode(path: string): Promise<Pcm> {
      const args = ["-i", path, "-f", "s16le", "-ar", `${SAMPLE_RATE}`, "-ac", "1", "pipe:1"];
      const sound = await run(await ffmpeg, args);
      return new Int16Array(sound.buffer.slice(sound.byteOffset, sound.byteOffset + (sound.length & ~1)));
    },

    /** Makes an MP4 of a still, or of a video that starts over as often as needed, with the sound under it. */
    async talkingVideo({ picture, still, sound, seconds, output }: TalkingVideo): Promise<void> {
      const repeat = still ? ["-f", "image2", "-pattern_type", "none", "-loop", "1"] : ["-stream_loop", "-1"];
      const streams = ["-map", "0:v:0", "-map", "1:a:0", "-t", seconds.toFixed(3), "-r", "25"];
      const evenSides = "scale=max(2\\,trunc(iw/2)*2):max(2\\,trunc(ih/2)*2)";
      const video = ["-vf", evenSides, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
      const container = ["-metadata", `title=${SIMULATED}`, "-movflags", "+faststart", "-f", "mp4"];
      const inputs = [...repeat, "-i", picture, "-i", sound];
      const args = [...inputs, ...streams, ...video, "-c:a", "aac", ...container, "-y", output];
      await run(await ffmpeg, args, undefined, TIMEOUT_MS + Math.ceil(1000 * seconds));
    },

    async channels(path: string): Promise<number> {
      const select = ["-v", "error", "-select_streams", "a:0", "-show_entries", "stream=channels", "-of", "csv=p=0"];
      return Number((await run(await ffprobe, [...select, path])).toString().trim());
    },

    /** What a simulated voice said, by the tags that it left; undefined for any other sound. */
    async spokenText(path: string): Promise<string | undefined> {
      const select = ["-v", "error", "-show_entries", "format_tags=title,comment", "-of", "json"];
      const { format } = JSON.parse((await run(await ffprobe, [...select, path])).toString());
      return format?.tags?.title === SIMULATED ? format.tags.comment : undefined;
    },

    /** Its length in seconds. @throws when the file is nothing that plays */
    async duration(path: string): Promise<number> {
      const select = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"];
      const seconds = Number((await run(await ffprobe, [...select, path])).toString().trim());
      if (!(seconds > 0)) throw new Error(`${basename(path)} has no length`);
      return seconds;
    },
  };
}

/** The packaged programs lose their mode where install scripts do not run. */
async function executable(configured: string | undefined, installed: string): Promise<string> {
  if (configured !== undefined) return configured;
  await chmod(installed, 0o755);
  return installed;
}

function run(program: string, args: string[], input?: Uint8Array, timeout = TIMEOUT_MS): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const command = limited(program, ["-hide_banner", ...args], LIMITS);
    const ending = { timeout, killSignal: "SIGKILL" } as const;
    const child = spawn(command.program, command.args, { stdio: ["pipe", "pipe", "pipe"], ...ending });
    const output: Buffer[] = [];
    let complaint = "";
    child.stdout.on("data", (chunk: Buffer) => void output.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => {
      complaint = (complaint + chunk.toString()).slice(-500);
    });
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve(Buffer.concat(output)) : reject(new Error(`${program} ended with ${code}: ${complaint}`)),
    );
    // A program that ends before it has read everything says why by its exit code.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}

/** A WAV file of `channels` equal channels. */
export function wavOf(pcm: Pcm, channels = 1): Buffer {
  const data = Buffer.alloc(pcm.length * 2 * channels);
  pcm.forEach((sample, index) => {
    for (let channel = 0; channel < channels; channel += 1) data.writeInt16LE(sample, (index * channels + channel) * 2);
  });
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(SAMPLE_RATE, 24);
  header.writeUInt32LE(SAMPLE_RATE * 2 * channels, 28);
  header.writeUInt16LE(2 * channels, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}

/** The samples of a 16-bit mono WAV file, whatever stands before its data. */
export function pcmOf(wav: Buffer): Pcm {
  const start = wav.indexOf("data") + 8;
  const length = Math.min(wav.readUInt32LE(start - 4), wav.length - start) & ~1;
  return new Int16Array(wav.buffer.slice(wav.byteOffset + start, wav.byteOffset + start + length));
}

function bytesOf(pcm: Pcm): Uint8Array {
  return new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength);
}
