import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import ffprobeInstaller from "@ffprobe-installer/ffprobe";
import { z } from "zod";

const probed = z.object({
  streams: z.array(
    z.object({
      codec_type: z.string(),
      codec_name: z.string(),
      width: z.number().optional(),
      height: z.number().optional(),
    }),
  ),
  format: z.object({ duration: z.coerce.number() }),
});

/** What a video file is: the codecs of its first picture and sound tracks, its size in pixels, and its length. */
export async function probeVideo(file: Buffer) {
  const folder = await mkdtemp(join(tmpdir(), "c3-render-probe-"));
  try {
    const path = join(folder, "video");
    await writeFile(path, file);
    const fields = "stream=codec_type,codec_name,width,height:format=duration";
    const args = ["-v", "error", "-show_entries", fields, "-of", "json", path];
    const { stdout } = await promisify(execFile)(ffprobeInstaller.path, args);
    const { streams, format } = probed.parse(JSON.parse(stdout));
    const picture = streams.find(({ codec_type: type }) => type === "video");
    const sound = streams.find(({ codec_type: type }) => type === "audio");
    return {
      video: picture?.codec_name,
      audio: sound?.codec_name,
      width: picture?.width,
      height: picture?.height,
      seconds: format.duration,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
