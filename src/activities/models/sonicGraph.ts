import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { Graph } from "../../clients/comfyui.ts";
import type { PortraitConfig } from "../../config/index.ts";

/** What differs from portrait to portrait; the names are those of a template's placeholders. */
export interface PortraitValues {
  /** Names of the uploaded files. */
  image: string;
  audio: string;
  /** Pixels. */
  width: number;
  height: number;
  /** Seconds that the model animates; more than the sound, to which the video is trimmed. */
  duration: number;
  seed: number;
  filename_prefix: string;
}

const PLACEHOLDER = /\{\{(\w+)\}\}/g;
const INFERENCE_STEPS = 25;
const FRAMES_PER_SECOND = 24;

const graphSchema = z.record(
  z.string(),
  z.object({ class_type: z.string(), inputs: z.record(z.string(), z.unknown()) }).loose(),
);

/**
 * The graph of a portrait: the operator's template if there is one, else SONIC's. Names that the operator's
 * ComfyUI knows otherwise are replaced.
 * @throws when the template cannot be used
 */
export async function loadPortraitGraph(
  { workflowFile, names }: Pick<PortraitConfig, "workflowFile" | "names">,
  values: PortraitValues,
): Promise<Graph> {
  const graph =
    workflowFile === undefined ? sonicGraph(values) : fillTemplate(await readFile(workflowFile, "utf8"), values);
  return renamed(graph, names);
}

/** @throws when the operator's template cannot be used, so that a worker says so at its start */
export async function checkPortraitGraph(config: Pick<PortraitConfig, "workflowFile" | "names">): Promise<void> {
  const sample = { image: "a.jpg", audio: "a.mp3", width: 2, height: 2, duration: 1, seed: 0, filename_prefix: "a" };
  try {
    await loadPortraitGraph(config, sample);
  } catch (error) {
    throw new Error(`PORTRAIT_WORKFLOW cannot be used: ${error instanceof Error ? error.message : error}`);
  }
}

/** A still picture that speaks: SONIC (github.com/smthemex/ComfyUI_Sonic) on Stable Video Diffusion. */
export function sonicGraph(values: PortraitValues): Graph {
  const { image, audio, width, height, duration, seed, filename_prefix } = values;
  const picture = "18";
  const resized = "58";
  const preview = "33";
  const sound = "32";
  const checkpoint = "26";
  const loader = "34";
  const prepared = "31";
  const sampler = "13";
  const video = "21";
  return {
    [picture]: { class_type: "LoadImage", inputs: { image } },
    [resized]: {
      class_type: "ImageResize+",
      inputs: {
        image: [picture, 0],
        width,
        height,
        interpolation: "nearest",
        method: "stretch",
        condition: "always",
        multiple_of: 0,
      },
    },
    [preview]: { class_type: "PreviewImage", inputs: { images: [resized, 0] } },
    [sound]: { class_type: "LoadAudio", inputs: { audio } },
    [checkpoint]: { class_type: "ImageOnlyCheckpointLoader", inputs: { ckpt_name: "svd_xt.safetensors" } },
    [loader]: {
      class_type: "SONICTLoader",
      inputs: {
        model: [checkpoint, 0],
        sonic_unet: "unet.pth",
        ip_audio_scale: 1,
        use_interframe: true,
        dtype: "bf16",
      },
    },
    [prepared]: {
      class_type: "SONIC_PreData",
      inputs: {
        clip_vision: [checkpoint, 1],
        vae: [checkpoint, 2],
        audio: [sound, 0],
        image: [resized, 0],
        weight_dtype: [loader, 1],
        min_resolution: 576,
        duration,
        expand_ratio: 1,
      },
    },
    [sampler]: {
      class_type: "SONICSampler",
      inputs: {
        model: [loader, 0],
        data_dict: [prepared, 0],
        seed,
        inference_steps: INFERENCE_STEPS,
        dynamic_scale: 1,
        fps: FRAMES_PER_SECOND,
      },
    },
    [video]: {
      class_type: "VHS_VideoCombine",
      inputs: {
        images: [sampler, 0],
        audio: [sound, 0],
        frame_rate: [sampler, 1],
        loop_count: 0,
        filename_prefix,
        format: "video/h264-mp4",
        pix_fmt: "yuv420p",
        crf: 19,
        save_metadata: true,
        trim_to_audio: true,
        pingpong: false,
        save_output: true,
      },
    },
  };
}

/**
 * `{{name}}` stands for a value: alone in a string for the value itself, number or text, else for its text.
 * @throws when it is no graph, or has no place for the picture, the sound or the file's name
 */
export function fillTemplate(template: string, values: PortraitValues): Graph {
  const known: Record<string, string | number> = { ...values };
  for (const name of ["image", "audio", "filename_prefix"]) {
    if (!template.includes(`{{${name}}}`)) throw new Error(`the template has no {{${name}}}`);
  }
  for (const [found, name = ""] of template.matchAll(PLACEHOLDER)) {
    if (!Object.hasOwn(known, name)) throw new Error(`${found} is no placeholder`);
  }
  const fill = (text: string): string | number => {
    const whole = /^\{\{(\w+)\}\}$/.exec(text)?.[1];
    if (whole !== undefined) return known[whole] ?? text;
    return text.replaceAll(PLACEHOLDER, (found, name: string) => String(known[name] ?? found));
  };
  const graph = graphSchema.safeParse(mapStrings(JSON.parse(template), fill));
  if (!graph.success) throw new Error("it is no graph in ComfyUI's API format");
  return graph.data;
}

function renamed(graph: Graph, names: Record<string, string>): Graph {
  return graphSchema.parse(mapStrings(graph, (text) => (Object.hasOwn(names, text) ? (names[text] ?? text) : text)));
}

function mapStrings(value: unknown, map: (text: string) => string | number): unknown {
  if (typeof value === "string") return map(value);
  if (Array.isArray(value)) return value.map((part) => mapStrings(part, map));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, mapStrings(part, map)]));
}
