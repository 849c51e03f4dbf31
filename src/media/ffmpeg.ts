import { execFile } from "node:child_process";
import { access, chmod, constants, stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import ffmpegInstaller from "@ffmpeg-installer/ffmpeg";
import ffprobeInstaller from "@ffprobe-installer/ffprobe";
import { z } from "zod";

export interface MediaTools {
  /** What kind of file it is and how long; undefined when it is neither sound nor video. */
  probe(file: string, signal: AbortSignal): Promise<Probe | undefined>;
  /** The sound of any file as an MP3 at 44.1 kHz, cut off after `maxSeconds`. */
  toMp3(source: string, target: string, options: Mp3Options): Promise<void>;
  /** Several MP3s of one kind, one after the other, with silence between them. */
  joinMp3(sources: readonly string[], target: string, options: JoinOptions): Promise<void>;
}

export interface JoinOptions {
  pauseMs: number;
  signal: AbortSignal;
}

export interface Mp3Options {
  mono: boolean;
  maxSeconds: number;
  signal: AbortSignal;
}

export interface Probe {
  /** ffprobe's short names, such as `mov,mp4,m4a,3gp,3g2,mj2`. */
  format: string;
  hasSound: boolean;
  /** Moving pictures; a cover picture does not count. */
  hasVideo: boolean;
  durationSeconds?: number;
}

const PROBE_TIMEOUT_MS = 30_000;
const CONVERT_TIMEOUT_MS = 600_000;
/** Containers that carry their own sound. Playlists and the like lead to other files and are none. */
const containers =
  "aac,ac3,aiff,amr,asf,au,avi,caf,flac,flv,matroska,webm,mov,mp3,mpeg,mpegts,ogg,wav,w64,wv,ape,eac3,dts,tta,voc";
/** No file may lead ffmpeg to another one, or to the network. */
const CONFINED = ["-hide_banner", "-protocol_whitelist", "file,pipe", "-format_whitelist", containers];

/** Not the tags, which may be as long as the file. */
const SHOWN = "format=format_name,duration:stream=codec_type:stream_disposition=attached_pic";
/** How programs crash, in contrast to how they are killed. */
const crashes: unknown[] = ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"];
/** A damaged file of an hour makes ffmpeg complain some hundred thousand times. */
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

const probeSchema = z.object({
  streams: z
    .array(
      z.object({
        codec_type: z.string().optional(),
        disposition: z.object({ attached_pic: z.number().default(0) }).default({ attached_pic: 0 }),
      }),
    )
    .default([]),
  format: z.object({ format_name: z.string(), duration: z.coerce.number().optional() }).optional(),
});

export interface MediaPaths {
  ffmpegPath: string | undefined;
  ffprobePath: string | undefined;
}

/**
 * ffmpeg and ffprobe: the configured ones, else the first on the `PATH`, else those that come with the package
 * (old, but everywhere).
 */
export async function createMediaTools(paths: MediaPaths, env: NodeJS.ProcessEnv): Promise<MediaTools> {
  const ffmpeg = await locate(paths.ffmpegPath, "ffmpeg", ffmpegInstaller.path, env);
  const ffprobe = await locate(paths.ffprobePath, "ffprobe", ffprobeInstaller.path, env);
  return {
    async probe(file, signal) {
      const args = [...CONFINED, "-v", "error", "-of", "json", "-show_entries", SHOWN, file];
      let output: string;
      try {
        output = await run(ffprobe, args, PROBE_TIMEOUT_MS, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (isExit(error) || isCrash(error)) return undefined;
        throw error;
      }
      const { streams, format } = probeSchema.parse(JSON.parse(output));
      if (format === undefined) return undefined;
      const hasSound = streams.some((stream) => stream.codec_type === "audio");
      const hasVideo = streams.some(
        ({ codec_type: type, disposition }) => type === "video" && disposition.attached_pic === 0,
      );
      const duration = format.duration === undefined ? {} : { durationSeconds: format.duration };
      return { format: format.format_name, hasSound, hasVideo, ...duration };
    },

    async toMp3(source, target, { mono, maxSeconds, signal }) {
      const sound = ["-vn", "-t", `${maxSeconds}`, "-ar", "44100", "-codec:a", "libmp3lame"];
      const args = [
        "-nostdin",
        "-y",
        ...CONFINED,
        "-v",
        "error",
        "-i",
        source,
        ...sound,
        ...(mono ? ["-ac", "1"] : []),
      ];
      await run(ffmpeg, [...args, target], CONVERT_TIMEOUT_MS, signal);
    },

    async joinMp3(sources, target, { pauseMs, signal }) {
      const inputs = sources.flatMap((source) => ["-i", source]);
      const sounds = sources.map((_, index) => `[${index}:a]`);
      const silences = pauseMs === 0 ? [] : sources.slice(1).map((_, index) => `[pause${index}]`);
      const sequence = sounds.flatMap((sound, index) => [sound, ...silences.slice(index, index + 1)]);
      const made = silences.map((silence) => `aevalsrc=0:d=${pauseMs / 1000}${silence}`);
      const graph = [...made, `${sequence.join("")}concat=n=${sequence.length}:v=0:a=1[sound]`].join(";");
      const output = ["-filter_complex", graph, "-map", "[sound]", "-codec:a", "libmp3lame", "-q:a", "2", target];
      await run(
        ffmpeg,
        ["-nostdin", "-y", ...CONFINED, "-v", "error", ...inputs, ...output],
        CONVERT_TIMEOUT_MS,
        signal,
      );
    },
  };
}

async function run(program: string, args: string[], timeout: number, signal: AbortSignal): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, {
    timeout,
    signal,
    killSignal: "SIGKILL",
    maxBuffer: MAX_OUTPUT_BYTES,
  });
  return stdout;
}

/** The program ran and did not like the file. */
function isExit(error: unknown): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "number";
}

/** The file was too much for the program, as it will be the next time. */
function isCrash(error: unknown): boolean {
  return error instanceof Error && "signal" in error && crashes.includes(error.signal);
}

async function locate(configured: string | undefined, name: string, installed: string, env: NodeJS.ProcessEnv) {
  if (configured !== undefined) return configured;
  for (const folder of (env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    if (folder !== "" && (await isExecutable(path))) return path;
  }
  // Without install scripts the packaged programs lack the mode.
  if (!(await isExecutable(installed))) await chmod(installed, 0o755);
  return installed;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
