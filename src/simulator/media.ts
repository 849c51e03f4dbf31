import { spawn } from "node:child_process";
import { chmod } from "node:fs/promises";
import ffmpegInstaller from "@ffmpeg-installer/ffmpeg";
import ffprobeInstaller from "@ffprobe-installer/ffprobe";

/** 16-bit mono sound at `SAMPLE_RATE`. */
export type Pcm = Int16Array;
export const SAMPLE_RATE = 16_000;

export type Media = ReturnType<typeof createMedia>;

/** What the simulated models need of ffmpeg. Paths default to the programs installed with the package. */
export function createMedia(paths: { ffmpeg?: string | undefined; ffprobe?: string | undefined } = {}) {
  const ffmpeg = executable(paths.ffmpeg, ffmpegInstaller.path);
  const ffprobe = executable(paths.ffprobe, ffprobeInstaller.path);
  return {
    /** An MP3 with `text` in its comment tag, so that a simulated transcription can tell what was said. */
    async encodeMp3(pcm: Pcm, text: string): Promise<Buffer> {
      const input = ["-f", "s16le", "-ar", `${SAMPLE_RATE}`, "-ac", "1", "-i", "pipe:0"];
      const tags = ["-metadata", "title=c3-render simulator", "-metadata", `comment=${text}`];
      const output = ["-codec:a", "libmp3lame", "-b:a", "64k", "-id3v2_version", "3", "-f", "mp3", "pipe:1"];
      return await run(await ffmpeg, [...input, ...tags, ...output], bytesOf(pcm));
    },

    /** The sound of any file, mixed to mono. */
    async decode(path: string): Promise<Pcm> {
      const args = ["-i", path, "-f", "s16le", "-ar", `${SAMPLE_RATE}`, "-ac", "1", "pipe:1"];
      const sound = await run(await ffmpeg, args);
      return new Int16Array(sound.buffer.slice(sound.byteOffset, sound.byteOffset + (sound.length & ~1)));
    },

    async channels(path: string): Promise<number> {
      const select = ["-v", "error", "-select_streams", "a:0", "-show_entries", "stream=channels", "-of", "csv=p=0"];
      return Number((await run(await ffprobe, [...select, path])).toString().trim());
    },
  };
}

/** The packaged programs lose their mode where install scripts do not run. */
async function executable(configured: string | undefined, installed: string): Promise<string> {
  if (configured !== undefined) return configured;
  await chmod(installed, 0o755);
  return installed;
}

function run(program: string, args: string[], input?: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, ["-hide_banner", ...args], { stdio: ["pipe", "pipe", "pipe"], timeout: 60_000 });
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
