import { randomUUID } from "node:crypto";
import { renameSync, statSync, truncateSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import sharp from "sharp";
import type { Faults } from "../control/faults.ts";
import type { Pace } from "../control/timing.ts";
import type { Media } from "../sound/media.ts";
import type { ComfyFiles } from "./files.ts";
import { type Graph, nodeOf, upstream } from "./graph.ts";

/** One run of a graph, as its nodes see it. */
export interface NodeRun {
  graph: Graph;
  /** Aborts when the server forgets the run. */
  signal: AbortSignal;
  /** Throws when somebody interrupted the run. */
  checkpoint(): void;
  progressed(id: string, value: number, max: number): void;
  /** The server is killed and starts again. */
  crash(): void;
}

/** @returns what the node makes, if that is shown */
type NodeWork = (run: NodeRun, id: string) => Promise<object | undefined>;

interface NodeOptions {
  media: Media;
  faults: Faults;
  node: string;
  files: ComfyFiles;
  pace: Pace;
  /** Whether SONIC sees faces in pictures that are large enough. */
  findsFaces: () => boolean;
}

/** A face in less cannot be found. */
const LEAST_SIDE = 64;

/** Named as Python names it. */
class UnboundLocalError extends Error {
  override name = "UnboundLocalError";
}

/** The model needs about two seconds for one of the video. */
const SECONDS_PER_SOUND_SECOND = 2;

/** What the nodes of a graph do, by their class; the others only hand things on. */
export function createNodeWork({
  media,
  faults,
  node,
  files,
  pace,
  findsFaces,
}: NodeOptions): Record<string, NodeWork> {
  const { folders } = files;

  /** The model's own way of saying that it saw no face. */
  async function findFace({ graph }: NodeRun, id: string): Promise<undefined> {
    const picture = await sharp(imageOf(graph, id)).metadata();
    const resized = upstream(graph, id, "ImageResize+")?.inputs ?? {};
    const sides = [Number(resized.width) || picture.width, Number(resized.height) || picture.height];
    if (Math.min(...sides) >= LEAST_SIDE && findsFaces()) return;
    throw new UnboundLocalError("local variable 'bbox_s' referenced before assignment");
  }

  async function sample(run: NodeRun, id: string): Promise<undefined> {
    const startedAt = performance.now();
    if (faults.take({ service: "comfyui", path: "/run", node }, ["render_error"]))
      throw new Error("CUDA out of memory");
    const { graph, signal } = run;
    const max = Number(nodeOf(graph, id).inputs.inference_steps);
    const slowness = SECONDS_PER_SOUND_SECOND * pace.speed();
    const seconds = pace.renderSeconds() ?? (await secondsOf(graph, id)) * slowness;
    for (let value = 1; value <= max; value += 1) {
      const left = startedAt + (1000 * seconds * value) / max - performance.now();
      await delay(Math.max(left, 0), undefined, { ref: false, signal });
      run.checkpoint();
      run.progressed(id, value, max);
    }
  }

  async function combine({ graph, signal, crash }: NodeRun, id: string): Promise<object> {
    const { filename_prefix, format, frame_rate } = nodeOf(graph, id).inputs;
    const frameRate = Array.isArray(frame_rate) ? upstream(graph, id, "SONICSampler")?.inputs.fps : frame_rate;
    const picture = await paint(graph, id, `${randomUUID()}.png`);
    const [sound, seconds] = [soundOf(graph, id), await secondsOf(graph, id)];
    const draft = join(folders.temp, `${randomUUID()}.mp4`);
    await media.talkingVideo({ picture, still: true, sound, seconds, output: draft });
    signal.throwIfAborted();
    const stem = files.freeStem(String(filename_prefix));
    const fullpath = `${stem}-audio.mp4`;
    if (faults.take({ service: "comfyui", path: "/run", node }, ["half_file"])) {
      truncateSync(draft, Math.floor(statSync(draft).size / 2));
      renameSync(draft, fullpath);
      crash();
      signal.throwIfAborted();
    }
    renameSync(draft, fullpath);
    const subfolder = relative(folders.output, dirname(fullpath));
    const file = { filename: basename(fullpath), subfolder, type: "output", format, frame_rate: frameRate };
    return { gifs: [{ ...file, workflow: `${basename(stem)}.png`, fullpath }] };
  }

  async function preview({ graph }: NodeRun, id: string): Promise<object> {
    const filename = `ComfyUI_temp_${randomUUID().slice(0, 5)}_00001_.png`;
    await paint(graph, id, filename);
    return { images: [{ filename, subfolder: "", type: "temp" }] };
  }

  /** Writes the picture as it arrives at a node. */
  async function paint(graph: Graph, id: string, name: string): Promise<string> {
    const { width, height } = upstream(graph, id, "ImageResize+")?.inputs ?? {};
    // Zero leaves a side as it is.
    const size = { width: Number(width ?? 0) || undefined, height: Number(height ?? 0) || undefined };
    const picture = sharp(imageOf(graph, id)).autoOrient().flatten();
    const target = join(folders.temp, name);
    await picture
      .resize({ ...size, fit: "fill", kernel: "nearest" })
      .png()
      .toFile(target);
    return target;
  }

  const imageOf = (graph: Graph, id: string) =>
    join(folders.input, String(upstream(graph, id, "LoadImage")?.inputs.image));
  const soundOf = (graph: Graph, id: string) =>
    join(folders.input, String(upstream(graph, id, "LoadAudio")?.inputs.audio));

  /** The length of the video. */
  async function secondsOf(graph: Graph, id: string): Promise<number> {
    const asked = Number(upstream(graph, id, "SONIC_PreData")?.inputs.duration ?? Number.POSITIVE_INFINITY);
    return Math.min(asked, await media.duration(soundOf(graph, id)));
  }

  return {
    LoadImage: async ({ graph }, id) => void (await sharp(imageOf(graph, id)).metadata()),
    LoadAudio: async ({ graph }, id) => void (await media.duration(soundOf(graph, id))),
    SONIC_PreData: findFace,
    SONICSampler: sample,
    VHS_VideoCombine: combine,
    PreviewImage: preview,
  };
}
