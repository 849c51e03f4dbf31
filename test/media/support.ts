import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import ffmpegInstaller from "@ffmpeg-installer/ffmpeg";

/** A folder for one test, and what removes it. */
export async function makeFolder(): Promise<{ folder: string; remove: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "c3-render-media-"));
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** Makes a file with the packaged ffmpeg. */
export async function ffmpeg(...args: string[]): Promise<void> {
  // Without install scripts the packaged program lacks the mode.
  await chmod(ffmpegInstaller.path, 0o755);
  await promisify(execFile)(ffmpegInstaller.path, ["-nostdin", "-hide_banner", "-v", "error", "-y", ...args]);
}

export const testPicture = (seconds: number) => ["-f", "lavfi", "-i", `testsrc=d=${seconds}:s=64x48:r=10`];
export const testSound = (seconds: number) => ["-f", "lavfi", "-i", `sine=d=${seconds}:r=48000`];
export const h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
