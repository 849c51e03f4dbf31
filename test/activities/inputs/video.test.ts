import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { checkVideo } from "../../../src/activities/inputs/video.ts";
import { createMediaTools, type MediaTools } from "../../../src/media/ffmpeg.ts";
import { ffmpeg, h264, makeFolder } from "../../media/support.ts";

const { signal } = new AbortController();
const onPath = (name: string) =>
  (process.env.PATH ?? "").split(delimiter).some((folder) => folder !== "" && existsSync(join(folder, name)));
const environments: Record<string, NodeJS.ProcessEnv> = { "of the package": { PATH: "" } };
if (onPath("ffmpeg") && onPath("ffprobe")) environments["of the PATH"] = { PATH: process.env.PATH };

const picture = (seconds: number, size = "128x96") => ["-f", "lavfi", "-i", `testsrc=d=${seconds}:s=${size}:r=10`];
const good: Record<string, string[]> = {
  "an MP4": [...picture(2), ...h264, "a.mp4"],
  "a fragmented MP4": [...picture(2), ...h264, "-g", "5", "-movflags", "frag_keyframe+empty_moov", "fragmented.mp4"],
  "a MOV": [...picture(2), ...h264, "a.mov"],
  "a WebM": [...picture(2), "-c:v", "libvpx", "a.webm"],
  "a Matroska": [...picture(2), ...h264, "a.mkv"],
  "an AVI": [...picture(2), "-c:v", "mpeg4", "a.avi"],
  "an MPEG": [...picture(2), "-r", "25", "-c:v", "mpeg2video", "a.mpg"],
  "an upright one": [...picture(2, "96x128"), ...h264, "upright.mp4"],
};

for (const [whose, env] of Object.entries(environments)) {
  describe(`a video for lip-sync, with the programs ${whose}`, () => {
    let folder: string;
    let remove: () => Promise<void>;
    let media: MediaTools;

    before(async () => {
      ({ folder, remove } = await makeFolder());
      media = await createMediaTools({ ffmpegPath: undefined, ffprobePath: undefined }, env);
    });
    after(() => remove());

    async function check(args: string[], maxSeconds = 20, change = (file: Buffer) => file) {
      const original = join(folder, args.at(-1)!);
      await ffmpeg(...args.slice(0, -1), original);
      await writeFile(original, change(await readFile(original)));
      const input = { name: "video", field: "video_url", kind: "video", source: { url: "" } } as const;
      return await checkVideo({ input, original, target: join(folder, "job"), media, maxSeconds, signal });
    }

    for (const [what, args] of Object.entries(good)) {
      it(`may be ${what}`, async () => {
        const { durationSeconds, path, mimeType } = await check(args);
        assert.ok(Math.abs(durationSeconds! - 2) < 0.3, `${durationSeconds} s`);
        assert.equal(path, join(folder, args.at(-1)!));
        assert.match(mimeType, /^video\//);
      });
    }

    if (env.PATH !== "") {
      it("may be MPEG-TS, where there is a newer ffprobe", async () => {
        assert.equal((await check([...picture(2), ...h264, "a.ts"])).mimeType, "video/mp2t");
      });
    }

    it("may be as long as is allowed, and not longer, whatever its header says", async () => {
      const longer = [...picture(4), ...h264, "long.mp4"];
      assert.ok((await check(longer, 4)).durationSeconds! > 3.8);
      await assert.rejects(check(longer, 3), { message: "video_url: it is longer than 3 s" });
      const lying = (file: Buffer) => {
        // The length of the film, in its header of version 0.
        file.writeUInt32BE(1000, file.indexOf("mvhd") + 20);
        return file;
      };
      await assert.rejects(check(longer, 3, lying), { message: "video_url: it is longer than 3 s" });
    });

    it("has pictures that can be decoded", async () => {
      const unknown = (file: Buffer) => {
        file.write("zzzz", file.indexOf("avc1", file.indexOf("stsd")), "latin1");
        file.write("zzzz", file.indexOf("avcC"), "latin1");
        return file;
      };
      await assert.rejects(check([...picture(2), ...h264, "unknown.mp4"], 20, unknown), { name: "FileRefused" });
    });
  });
}
