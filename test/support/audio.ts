import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import ffprobeInstaller from "@ffprobe-installer/ffprobe";
import { createMedia } from "../../src/simulator/sound/media.ts";

/** What a sound file is: its codec, its length, and its loudest sample (of 32,767). */
export async function probeAudio(file: Buffer): Promise<{ codec: string; seconds: number; loudest: number }> {
  const folder = await mkdtemp(join(tmpdir(), "c3-render-probe-"));
  try {
    const path = join(folder, "sound");
    await writeFile(path, file);
    const sound = await createMedia().decode(path);
    const args = ["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", path];
    const { stdout } = await promisify(execFile)(ffprobeInstaller.path, args);
    const loudest = sound.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    return { codec: stdout.trim(), seconds: sound.length / 16_000, loudest };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
