import { z } from "zod";
import { prlimitPath } from "../process/processLimits.ts";
import { CONFINED, MAX_PIXELS, MEDIA_LIMITS, PROBE_LIMITS } from "./confinement.ts";
import { type Heard, Listener, RATE } from "./listener.ts";
import { locatePrograms, type MediaPaths } from "./locate.ts";
import { run } from "./program.ts";
import { Progress } from "./progress.ts";
import { againAfterCrash, FileRefused, ToolTrouble } from "./verdict.ts";

export interface MediaTools {
  /**
   * What is in a file; undefined when it is neither sound nor video.
   * @throws ToolTrouble when that is not the file's fault
   */
  probe(file: string, signal: AbortSignal): Promise<Probe | undefined>;
  /** Decodes a track of sound, `maxSeconds` of it at most, and tells what is in it. @throws FileRefused, ToolTrouble */
  listen(file: string, track: SoundTrack, options: Limits): Promise<Heard>;
  /** A track of sound as an MP3 at 44.1 kHz. @throws FileRefused, ToolTrouble */
  toMp3(source: string, target: string, options: Mp3Options): Promise<void>;
  /**
   * Decodes the first picture of a video and follows the rest, `maxSeconds` of it at most.
   * @returns its length in seconds, if it has one
   * @throws FileRefused, ToolTrouble
   */
  watch(file: string, track: VideoTrack, options: Limits): Promise<number | undefined>;
  /** Several MP3s of one kind, one after the other, with silence between them. @throws FileRefused, ToolTrouble */
  joinMp3(sources: readonly string[], target: string, options: JoinOptions): Promise<void>;
}

export interface JoinOptions {
  pauseMs: number;
  signal: AbortSignal;
}

export interface Limits {
  maxSeconds: number;
  signal: AbortSignal;
}

export interface Mp3Options extends Limits {
  track: SoundTrack;
  /** One channel: their mix, or only the left or the right one; otherwise one or two, as there are. */
  mono?: "mix" | "left" | "right" | undefined;
  /** Only this part of it, in seconds. */
  part?: { start: number; end: number; fadeSeconds: number };
}

export interface SoundTrack {
  index: number;
  channels: number;
  /** Hz; 0: unknown. */
  sampleRate: number;
  /** Where each channel belongs is known. */
  hasLayout: boolean;
  /** ffprobe has a name for how it is encoded. */
  isKnown: boolean;
  /** Players choose it. */
  isDefault: boolean;
}

export interface VideoTrack {
  index: number;
  /** Pixels, as stored. */
  width: number;
  height: number;
}

export interface Probe {
  /** ffprobe's short names, such as `mov,mp4,m4a,3gp,3g2,mj2`. */
  format: string;
  sounds: SoundTrack[];
  /** Moving pictures; a cover picture does not count. */
  videos: VideoTrack[];
  /** What the container says, which may be a guess. */
  durationSeconds?: number;
}

/** A busy machine is slow; a program that stands still for so long will not go on. */
const STALL_MS = 120_000;
const QUIET = ["-nostdin", "-y", "-filter_threads", "1", ...CONFINED, ...MAX_PIXELS, "-v", "error"];
/** Not the tags, which may be as long as the file. */
const SHOWN =
  "format=format_name,duration:stream=index,codec_type,codec_name,sample_rate,channels,channel_layout,width,height:stream_disposition=attached_pic,default";
/**
 * The times of the recording: what begins late, or has a gap, begins late here as well, with silence before. Otherwise
 * transcripts and lips would be early.
 */
const IN_TIME = "aresample=async=1:first_pts=0";

const flags = { attached_pic: 0, default: 0 };
const streamSchema = z.object({
  index: z.number(),
  codec_type: z.string().optional(),
  codec_name: z.string().optional(),
  channels: z.number().optional(),
  sample_rate: z.coerce.number().optional(),
  channel_layout: z.string().optional(),
  width: z.number().optional(),
  height: z.number().optional(),
  disposition: z.object({ attached_pic: z.number().default(0), default: z.number().default(0) }).default(flags),
});
const probeSchema = z.object({
  streams: z.array(streamSchema).default([]),
  format: z.object({ format_name: z.string(), duration: z.coerce.number().optional() }).optional(),
});

/** @param warn is told, once, what an operator should know of the programs */
export async function createMediaTools(
  paths: MediaPaths,
  env: NodeJS.ProcessEnv,
  warn: (message: string) => void = () => {},
): Promise<MediaTools> {
  const { ffmpeg, ffprobe } = await locatePrograms(paths, env);
  if (ffmpeg.isPackaged || ffprobe.isPackaged) {
    warn(
      "files of strangers are read by the old ffmpeg of the npm package (2018), which gets no security fixes and cannot " +
        "read every kind of file: install ffmpeg (apt-get install ffmpeg), or set FFMPEG_PATH and FFPROBE_PATH",
    );
  }
  if (prlimitPath() === undefined) {
    warn(
      "prlimit (of util-linux) is not installed: what a file makes ffmpeg and the decoder of pictures take of memory and of " +
        "the disk is not limited",
    );
  }
  return {
    async probe(file, signal) {
      const args = [...CONFINED, "-v", "error", "-of", "json", "-show_entries", SHOWN, file];
      let output: string;
      try {
        output = await againAfterCrash(() =>
          run(ffprobe.path, args, { signal, stallMs: STALL_MS, limits: PROBE_LIMITS }),
        );
      } catch (error) {
        if (!(error instanceof FileRefused)) throw error;
        if (!error.crashed || !ffprobe.isPackaged) return undefined;
        // The packaged one does so over every MPEG-TS: another worker may have a better one.
        throw new ToolTrouble("the ffprobe of this worker is too old to read it, its operator should install ffmpeg");
      }
      const { streams, format } = probeSchema.parse(JSON.parse(output));
      if (format === undefined) return undefined;
      const { duration } = format;
      return {
        format: format.format_name,
        sounds: streams.filter((stream) => stream.codec_type === "audio").map(soundOf),
        videos: streams
          .filter((stream) => stream.codec_type === "video" && stream.disposition.attached_pic === 0)
          .map(({ index, width = 0, height = 0 }) => ({ index, width, height })),
        ...(duration !== undefined && { durationSeconds: duration }),
      };
    },

    async listen(file, track, { maxSeconds, signal }) {
      const sound = [
        "-af",
        [IN_TIME, ...toStereo(track)].join(),
        "-ac",
        "2",
        "-ar",
        `${RATE}`,
        "-f",
        "s16le",
        "pipe:1",
      ];
      const args = [...QUIET, "-i", file, ...only(track, maxSeconds), ...sound];
      return await againAfterCrash(async () => {
        const listener = new Listener();
        await work(args, signal, (chunk) => listener.take(chunk));
        return listener.heard();
      });
    },

    async toMp3(source, target, { track, maxSeconds, mono, part, signal }) {
      const channel = mono === "left" ? "c0" : mono === "right" ? "c1" : "0.5*c0+0.5*c1";
      const filters = [
        IN_TIME,
        ...toStereo(track),
        ...(mono === undefined || track.channels < 2 ? [] : [`pan=mono|c0=${channel}`]),
        ...(part === undefined ? [] : cut(part)),
      ];
      const sound = ["-af", filters.join(), "-ar", "44100", "-codec:a", "libmp3lame", "-f", "mp3"];
      const args = [...QUIET, "-progress", "pipe:1", "-i", source, ...only(track, maxSeconds), ...sound, target];
      await follow(args, signal);
    },

    async watch(file, track, { maxSeconds, signal }) {
      const input = [...QUIET, "-progress", "pipe:1", "-i", file, "-map", `0:${track.index}`];
      const nowhere = ["-f", "null", "-"];
      const first = await follow([...input, "-frames:v", "1", ...nowhere], signal);
      if (first.frames === 0) throw new FileRefused("there is no picture in it");
      // Copied, not decoded: that is quick, and the packets have their times.
      const { seconds } = await follow([...input, "-t", `${maxSeconds}`, "-c", "copy", ...nowhere], signal);
      return seconds;
    },

    async joinMp3(sources, target, { pauseMs, signal }) {
      const inputs = sources.flatMap((source) => [...CONFINED, "-f", "mp3", "-i", source]);
      const sounds = sources.map((_, index) => `[${index}:a]`);
      const silences = pauseMs === 0 ? [] : sources.slice(1).map((_, index) => `[pause${index}]`);
      const sequence = sounds.flatMap((sound, index) => [sound, ...silences.slice(index, index + 1)]);
      const made = silences.map((silence) => `aevalsrc=0:d=${pauseMs / 1000}${silence}`);
      const graph = [...made, `${sequence.join("")}concat=n=${sequence.length}:v=0:a=1[sound]`].join(";");
      const output = ["-filter_complex", graph, "-map", "[sound]", "-codec:a", "libmp3lame", "-q:a", "2", target];
      await follow(["-nostdin", "-y", "-v", "error", "-progress", "pipe:1", ...inputs, ...output], signal);
    },
  };

  async function work(args: readonly string[], signal: AbortSignal, onOutput: (chunk: Buffer) => boolean) {
    await run(ffmpeg.path, args, { signal, stallMs: STALL_MS, limits: MEDIA_LIMITS, onOutput });
  }

  /** Runs ffmpeg for as long as its reports go forward. @returns the last one */
  function follow(args: readonly string[], signal: AbortSignal) {
    return againAfterCrash(async () => {
      const reports = new Progress();
      await work(args, signal, (chunk) => reports.take(chunk));
      return reports.latest();
    });
  }
}

function soundOf(stream: z.infer<typeof streamSchema>): SoundTrack {
  const { index, codec_name: codec = "unknown", channels = 0, channel_layout: layout = "unknown" } = stream;
  return {
    index,
    channels,
    sampleRate: stream.sample_rate ?? 0,
    hasLayout: !/^unknown$|^\d+ channels/.test(layout),
    isKnown: codec !== "unknown" && codec !== "none",
    isDefault: stream.disposition.default === 1,
  };
}

/** Some recorders do not say where their channels belong, and then ffmpeg refuses to mix them. */
function toStereo({ channels, hasLayout }: SoundTrack): string[] {
  if (channels <= 2) return [];
  if (hasLayout) return ["aformat=channel_layouts=stereo"];
  const side = (first: number) =>
    Array.from({ length: Math.ceil((channels - first) / 2) }, (_, index) => `c${first + 2 * index}`).join("+");
  return [`pan=stereo|c0<${side(0)}|c1<${side(1)}`];
}

function cut({ start, end, fadeSeconds }: { start: number; end: number; fadeSeconds: number }): string[] {
  const fade = `afade=t=out:st=${end - start - fadeSeconds}:d=${fadeSeconds}`;
  return [`atrim=${start}:${end}`, "asetpts=PTS-STARTPTS", fade];
}

function only({ index }: { index: number }, maxSeconds: number): string[] {
  return ["-map", `0:${index}`, "-vn", "-sn", "-dn", "-t", `${maxSeconds}`];
}
