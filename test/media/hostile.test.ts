import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { prepareSound } from "../../src/activities/inputs/sound.ts";
import { checkVideo } from "../../src/activities/inputs/video.ts";
import type { InputKind } from "../../src/jobs/inputs.ts";
import { createMediaTools, type MediaTools } from "../../src/media/ffmpeg.ts";
import { FileRefused, ToolTrouble } from "../../src/media/verdict.ts";
import { eventually } from "../support/eventually.ts";
import { startCounting, startedProcesses, withPeakMemory } from "./peakMemory.ts";
import { ffmpeg, h264, makeFolder, testPicture, testSound } from "./support.ts";

const NO_PATHS = { ffmpegPath: undefined, ffprobePath: undefined };
const environments: Record<string, NodeJS.ProcessEnv> = { "of the package": { PATH: "" } };
const onPath = (name: string) =>
  (process.env.PATH ?? "").split(delimiter).some((folder) => folder !== "" && existsSync(join(folder, name)));
if (onPath("ffmpeg") && onPath("ffprobe")) environments["of the PATH"] = { PATH: process.env.PATH };

const MAX_SECONDS = 3600;
const HOURS_10_6 = 3.6e9;

/** A file that wants the machine for itself. */
interface Case {
  kind: InputKind;
  make: () => Promise<Buffer>;
  /** What its sender is told; it is taken when this is missing. */
  says?: RegExp;
  /** Megabytes that no process may exceed. */
  within?: number;
}

const cases: Record<string, Case> = {
  "WAV at 1 Hz": {
    kind: "sound",
    make: wav({ rate: 1 }),
    says: /has 1 samples a second, and may have 1000 to 768000$/,
  },
  "WAV at 999 Hz": { kind: "sound", make: wav({ rate: 999 }), says: /has 999 samples a second/ },
  "WAV at 1 GHz": { kind: "sound", make: wav({ rate: 1e9 }), says: /has 1000000000 samples a second/ },
  "WAV at 4 GHz": { kind: "voice", make: wav({ rate: 0xffffffff }), says: /samples a second|cannot be read/ },
  "WAV at 0 Hz": { kind: "sound", make: wav({ rate: 0 }), says: /cannot be read|could not be decoded/ },
  "WAV of 255 channels": {
    kind: "sound",
    make: wav({ channels: 255 }),
    says: /has 255 channels, and may have 64 at most$/,
  },
  "WAV of 65535 channels": { kind: "sound", make: wav({ channels: 65_535 }), says: /65535 channels|cannot be read/ },
  "WAV that says it is 4 GB": { kind: "sound", make: wav({ claimed: 0xffffffff }) },
  "MP4 of 10^6 hours, by its header": {
    kind: "sound",
    make: async () => {
      const file = await made([...testSound(1), "-c:a", "aac", "a.mp4"]);
      file.writeUInt32BE(1, file.indexOf("mvhd") + 16);
      file.writeUInt32BE(HOURS_10_6, file.indexOf("mvhd") + 20);
      return file;
    },
  },
  "MP4 with a pause of 10^6 hours": { kind: "sound", make: pause(HOURS_10_6) },
  // To be silent for so long, the resampler would want 3 GB; other threads of ffmpeg do not always survive that.
  "MP4 with a pause of 50 minutes": {
    kind: "sound",
    make: pause(3000),
    says: /^audio_url: it could not be decoded \((it pauses for too long|ffmpeg crashes over it)\)$/,
    within: 800,
  },
  "MP4 of 1000 tracks": {
    kind: "sound",
    make: () =>
      made([
        ...["-f", "lavfi", "-i", "sine=d=0.05:r=8000"],
        ...Array.from({ length: 1000 }, () => ["-map", "0"]).flat(),
        ...["-c:a", "pcm_s16le", "tracks.mov"],
      ]),
    says: /cannot be read$/,
  },
  "Motion JPEG of 65500×65500": {
    kind: "video",
    make: async () => {
      const file = await made([...film(1), "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "huge.avi"]);
      for (let at = file.indexOf("\xff\xc0", 0, "latin1"); at >= 0; at = file.indexOf("\xff\xc0", at + 2, "latin1")) {
        file.writeUInt16BE(65_500, at + 5);
        file.writeUInt16BE(65_500, at + 7);
      }
      return file;
    },
    says: /pictures|could not be decoded|cannot be read/,
  },
  "a film of 5000×4000": {
    kind: "video",
    make: () => made(["-f", "lavfi", "-i", "color=d=0.1:s=5000x4000:r=10", "-c:v", "mjpeg", "large.avi"]),
    says: /^video_url: its pictures are too large: 5000×4000 pixels, 4096×4096 at most$/,
  },
  "AVI of 2^31 pixels a side": {
    kind: "video",
    make: async () => {
      const file = await made([...film(1), "-c:v", "mpeg4", "wide.avi"]);
      const at = file.indexOf("strf") + 12;
      file.writeInt32LE(0x7fffffff, at);
      file.writeInt32LE(0x7fffffff, at + 4);
      return file;
    },
  },
  "a film that breaks off": {
    kind: "video",
    make: async () => (await made([...film(2), ...h264, "-movflags", "faststart", "half.mp4"])).subarray(0, 2000),
    says: /could not be decoded|no picture|cannot be read/,
  },
  "a list of other files (HLS)": {
    kind: "sound",
    make: async () => Buffer.from("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.5,\n/etc/passwd\n#EXT-X-ENDLIST\n"),
    says: /^audio_url: this is text, not audio$/,
  },
  "a list of other files (concat)": {
    kind: "sound",
    make: async () => Buffer.from("ffconcat version 1.0\nfile /etc/passwd\n"),
    says: /^audio_url: this is text, not audio$/,
  },
  "a picture for a film": {
    kind: "video",
    make: () => made([...testPicture(0.1), "-frames:v", "1", "still.png"]),
    says: /^video_url: this is image\/png, not a video$/,
  },
};

let folder: string;

const film = (seconds: number) => ["-f", "lavfi", "-i", `testsrc=d=${seconds}:s=128x96:r=10`];

async function made(args: string[]): Promise<Buffer> {
  const file = join(folder, args.at(-1)!);
  await ffmpeg(...args.slice(0, -1), file);
  return await readFile(file);
}

/** Sound that goes on after so many seconds. */
function pause(seconds: number) {
  return async () => {
    const parts = ["-movflags", "empty_moov+default_base_moof", "-frag_duration", "500000"];
    const file = await made([...testSound(2), "-c:a", "aac", ...parts, "pause.mp4"]);
    file.writeBigUInt64BE(BigInt(seconds * 48_000), file.lastIndexOf("tfdt") + 8);
    return file;
  };
}

function wav({ rate = 48_000, channels = 1, claimed = 3000 }: { rate?: number; channels?: number; claimed?: number }) {
  return async () => {
    const header = Buffer.alloc(44);
    header.write("RIFF....WAVEfmt ", "latin1");
    header.writeUInt32LE(Math.min(36 + claimed, 0xffffffff), 4);
    header.writeUInt32LE(16, 16);
    header.writeUInt16LE(1, 20);
    header.writeUInt16LE(channels, 22);
    header.writeUInt32LE(rate, 24);
    header.writeUInt32LE((2 * rate) % 2 ** 32, 28);
    header.writeUInt16LE((2 * channels) % 2 ** 16, 32);
    header.writeUInt16LE(16, 34);
    header.write("data", 36, "latin1");
    header.writeUInt32LE(claimed, 40);
    return Buffer.concat([header, Buffer.alloc(3000, 0x12)]);
  };
}

for (const [whose, env] of Object.entries(environments)) {
  describe(`files that want the machine for themselves, with the programs ${whose}`, () => {
    let media: MediaTools;
    let remove: () => Promise<void>;

    before(async () => {
      startCounting();
      ({ folder, remove } = await makeFolder());
      media = await createMediaTools(NO_PATHS, env);
    });
    after(() => remove());
    afterEach(() => assert.deepEqual(startedProcesses(), []));

    async function prepare({ kind, make }: Case, signal: AbortSignal) {
      const original = join(folder, "original");
      await writeFile(original, await make());
      const field = kind === "video" ? "video_url" : "audio_url";
      const input = { name: kind === "video" ? "video" : "audio", field, kind, source: { url: "" } } as const;
      const staged = { input, original, target: join(folder, "target"), media, maxSeconds: MAX_SECONDS, signal };
      return await withPeakMemory(() =>
        (kind === "video" ? checkVideo : prepareSound)(staged).then(
          () => undefined,
          (error: unknown) => {
            if (error instanceof FileRefused) return `${field}: it could not be decoded (${error.message})`;
            assert.ok(error instanceof Error && !(error instanceof ToolTrouble), String(error));
            return error.message;
          },
        ),
      );
    }

    it("leave nothing running when the job is cancelled in the middle", async () => {
      const controller = new AbortController();
      const hostile = cases["MP4 with a pause of 50 minutes"]!;
      const preparing = prepare(hostile, controller.signal);
      await eventually("a program runs", () => startedProcesses().length > 0 || undefined);
      controller.abort(new Error("cancelled"));
      assert.equal((await preparing).result, "cancelled");
      assert.deepEqual(startedProcesses(), []);
    });

    for (const [what, hostile] of Object.entries(cases)) {
      it(`${hostile.says === undefined ? "takes" : "refuses"} ${what}, and needs little memory`, async () => {
        const { result, megabytes } = await prepare(hostile, new AbortController().signal);
        if (hostile.says === undefined) assert.equal(result, undefined);
        else assert.match(result ?? "it was taken", hostile.says);
        assert.ok(!(result ?? "").includes(folder), result);
        assert.ok(megabytes < (hostile.within ?? 150), `${megabytes} MB`);
      });
    }
  });
}
