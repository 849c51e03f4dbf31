import { access, chmod, constants, stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import ffmpegInstaller from "@ffmpeg-installer/ffmpeg";
import ffprobeInstaller from "@ffprobe-installer/ffprobe";

export interface MediaPaths {
  ffmpegPath: string | undefined;
  ffprobePath: string | undefined;
}

export interface Program {
  path: string;
  /** The old build that comes with the npm package. */
  isPackaged: boolean;
}

/** ffmpeg and ffprobe: the configured ones, else the first on the `PATH`, else those that come with the package. */
export async function locatePrograms({ ffmpegPath, ffprobePath }: MediaPaths, env: NodeJS.ProcessEnv) {
  return {
    ffmpeg: await locate(ffmpegPath, "ffmpeg", ffmpegInstaller.path, env),
    ffprobe: await locate(ffprobePath, "ffprobe", ffprobeInstaller.path, env),
  };
}

async function locate(
  configured: string | undefined,
  name: string,
  installed: string,
  env: NodeJS.ProcessEnv,
): Promise<Program> {
  if (configured !== undefined) return { path: configured, isPackaged: configured === installed };
  for (const folder of (env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    if (folder !== "" && (await isExecutable(path))) return { path, isPackaged: false };
  }
  // Without install scripts the packaged programs lack the mode.
  if (!(await isExecutable(installed))) await chmod(installed, 0o755);
  return { path: installed, isPackaged: true };
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
