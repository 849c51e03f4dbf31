import { createHash } from "node:crypto";
import { z } from "zod";

/** Graphs of ComfyUI: which nodes there are, and what the server complains about before anything runs. */

const graphNode = z.looseObject({ class_type: z.string(), inputs: z.record(z.string(), z.unknown()) });
export const graphSchema = z.record(z.string(), graphNode);

type GraphNode = z.infer<typeof graphNode>;
export type Graph = z.infer<typeof graphSchema>;

type Input =
  /** The output of another node. */
  { link: string } | { range: [minimum: number, maximum: number] } | { oneOf: string[] } | { file: string } | "any";

interface NodeClass {
  returns: string[];
  /** A graph runs for the sake of these. */
  isOutput?: true;
  required: Record<string, Input>;
}

const link = (type: string): Input => ({ link: type });
const range = (minimum: number, maximum: number): Input => ({ range: [minimum, maximum] });
const oneOf = (...names: string[]): Input => ({ oneOf: names });
const MAX_SIDE = 16_384;
const MAX_SEED = 2 ** 31 - 1;

const classes: Record<string, NodeClass> = {
  LoadImage: { returns: ["IMAGE", "MASK"], required: { image: { file: "image" } } },
  LoadAudio: { returns: ["AUDIO"], required: { audio: { file: "audio" } } },
  ImageOnlyCheckpointLoader: {
    returns: ["MODEL", "CLIP_VISION", "VAE"],
    required: { ckpt_name: oneOf("svd_xt.safetensors") },
  },
  "ImageResize+": {
    returns: ["IMAGE", "INT", "INT"],
    required: {
      image: link("IMAGE"),
      width: range(0, MAX_SIDE),
      height: range(0, MAX_SIDE),
      interpolation: oneOf("nearest", "bilinear", "bicubic", "area", "nearest-exact", "lanczos"),
      method: oneOf("stretch", "keep proportion", "fill / crop", "pad"),
      condition: oneOf("always", "downscale if bigger", "upscale if smaller", "if bigger area", "if smaller area"),
      multiple_of: range(0, 512),
    },
  },
  SONICTLoader: {
    returns: ["MODEL_SONIC", "DTYPE"],
    required: {
      model: link("MODEL"),
      sonic_unet: oneOf("none", "unet.pth"),
      ip_audio_scale: range(0.5, 2),
      use_interframe: "any",
      dtype: oneOf("fp16", "fp32", "bf16"),
    },
  },
  SONIC_PreData: {
    returns: ["SONIC_PREDATA"],
    required: {
      clip_vision: link("CLIP_VISION"),
      vae: link("VAE"),
      audio: link("AUDIO"),
      image: link("IMAGE"),
      weight_dtype: link("DTYPE"),
      min_resolution: range(128, 2048),
      duration: range(1, 1e11),
      expand_ratio: range(0.1, 1),
    },
  },
  SONICSampler: {
    returns: ["IMAGE", "FLOAT"],
    required: {
      model: link("MODEL_SONIC"),
      data_dict: link("SONIC_PREDATA"),
      seed: range(0, MAX_SEED),
      inference_steps: range(1, 1024),
      dynamic_scale: range(0.5, 2),
      fps: range(5, 120),
    },
  },
  VHS_VideoCombine: {
    returns: ["VHS_FILENAMES"],
    isOutput: true,
    required: {
      images: link("IMAGE"),
      // Not asked for by the real node, which then makes a video without sound; nobody wants one here.
      audio: link("AUDIO"),
      frame_rate: range(1, 1000),
      loop_count: range(0, 100),
      filename_prefix: "any",
      format: oneOf("video/h264-mp4"),
      pingpong: "any",
      save_output: "any",
    },
  },
  PreviewImage: { returns: [], isOutput: true, required: { images: link("IMAGE") } },
};

interface NodeError {
  type: string;
  message: string;
  details: string;
  extra_info: object;
}

interface FaultyNode {
  errors: NodeError[];
  dependent_outputs: string[];
  class_type: string;
}

interface Validation {
  /** The reason for which nothing runs. */
  error?: NodeError;
  nodeErrors: Record<string, FaultyNode>;
  /** Those that will run. */
  outputs: string[];
}

export const nodeError = (type: string, message: string, details: string, extra_info = {}): NodeError => {
  return { type, message, details, extra_info };
};

export function validate(graph: Graph, isUploaded: (name: string) => boolean): Validation {
  const unknown = Object.entries(graph).find(([, { class_type }]) => !Object.hasOwn(classes, class_type));
  if (unknown !== undefined) {
    const message = `Cannot execute because node ${unknown[1].class_type} does not exist.`;
    return { error: nodeError("invalid_prompt", message, `Node ID '#${unknown[0]}'`), nodeErrors: {}, outputs: [] };
  }
  const outputs = Object.keys(graph).filter((id) => classOf(graph, id).isOutput);
  if (outputs.length === 0)
    return { error: nodeError("prompt_no_outputs", "Prompt has no outputs", ""), nodeErrors: {}, outputs };
  const nodeErrors: Validation["nodeErrors"] = {};
  const good = outputs.filter((output) => {
    const found = executionOrder(graph, [output]).map((id) => ({ id, errors: errorsOf(graph, id, isUploaded) }));
    const bad = found.filter(({ errors }) => errors.length > 0);
    for (const { id, errors } of bad) {
      const known = nodeErrors[id] ?? { errors, dependent_outputs: [], class_type: nodeOf(graph, id).class_type };
      known.dependent_outputs.push(output);
      nodeErrors[id] = known;
    }
    return bad.length === 0;
  });
  if (good.length > 0) return { nodeErrors, outputs: good };
  // As in the real server, errors of the nodes before the outputs do not show here.
  const details = outputs
    .flatMap((id) => nodeErrors[id]?.errors ?? [])
    .map((error) => `${error.message}: ${error.details}`);
  const error = nodeError("prompt_outputs_failed_validation", "Prompt outputs failed validation", details.join("\n"));
  return { error, nodeErrors, outputs: good };
}

function errorsOf(graph: Graph, id: string, isUploaded: (name: string) => boolean): NodeError[] {
  const { inputs } = nodeOf(graph, id);
  const { required } = classOf(graph, id);
  const names = new Set([...Object.keys(required), ...Object.keys(inputs)]);
  return [...names].flatMap((name) => {
    const [value, wanted] = [inputs[name], required[name] ?? "any"];
    const info = { input_name: name, received_value: value };
    if (value === undefined) return [nodeError("required_input_missing", "Required input is missing", name, info)];
    return Array.isArray(value)
      ? linkErrors(graph, id, value, wanted, info)
      : valueErrors(value, wanted, isUploaded, info);
  });
}

function linkErrors(graph: Graph, id: string, value: unknown[], wanted: Input, info: { input_name: string }) {
  const [source, slot] = value;
  const { input_name: name } = info;
  if (value.length !== 2 || typeof source !== "string" || typeof slot !== "number") {
    const message = "Bad linked input, must be a length-2 list of [node_id, slot_index]";
    return [nodeError("bad_linked_input", message, name, info)];
  }
  const found = graph[source] === undefined ? undefined : classOf(graph, source).returns[slot];
  const failed = (details: string) => [
    nodeError("exception_during_inner_validation", "Exception when validating inner node", details, info),
  ];
  if (found === undefined) return failed(graph[source] === undefined ? `'${source}'` : "tuple index out of range");
  if (executionOrder(graph, [source]).includes(id)) return failed("maximum recursion depth exceeded");
  if (wanted === "any" || !("link" in wanted) || wanted.link === found) return [];
  const details = `${name}, received_type(${found}) mismatch input_type(${wanted.link})`;
  return [nodeError("return_type_mismatch", "Return type mismatch between linked nodes", details, info)];
}

function valueErrors(
  value: unknown,
  wanted: Input,
  isUploaded: (name: string) => boolean,
  info: { input_name: string },
) {
  const { input_name: name } = info;
  const failed = (type: string, message: string, details: string) => [nodeError(type, message, details, info)];
  if (wanted === "any") return [];
  if ("link" in wanted)
    return failed("bad_linked_input", "Bad linked input, must be a length-2 list of [node_id, slot_index]", name);
  if ("oneOf" in wanted) {
    if (wanted.oneOf.includes(String(value))) return [];
    return failed(
      "value_not_in_list",
      "Value not in list",
      `${name}: '${value}' not in ${JSON.stringify(wanted.oneOf)}`,
    );
  }
  if ("file" in wanted) {
    if (typeof value === "string" && isUploaded(value)) return [];
    const details = `${name} - Invalid ${wanted.file} file: ${value}`;
    return failed("custom_validation_failed", "Custom validation failed for node", details);
  }
  const number = typeof value === "object" || value === "" ? Number.NaN : Number(value);
  const [minimum, maximum] = wanted.range;
  if (Number.isNaN(number))
    return failed("invalid_input_type", "Failed to convert an input value to a FLOAT value", `${name}, ${value}`);
  if (number < minimum) return failed("value_smaller_than_min", `Value ${number} smaller than min of ${minimum}`, name);
  if (number > maximum) return failed("value_bigger_than_max", `Value ${number} bigger than max of ${maximum}`, name);
  return [];
}

export function nodeOf(graph: Graph, id: string): GraphNode {
  const found = graph[id];
  if (found === undefined) throw new Error(`the graph has no node ${id}`);
  return found;
}

function classOf(graph: Graph, id: string): NodeClass {
  const { class_type } = nodeOf(graph, id);
  const found = classes[class_type];
  if (found === undefined) throw new Error(`there is no node ${class_type}`);
  return found;
}

/** The nodes that `ids` need, and themselves; each stands after those that it needs. */
export function executionOrder(graph: Graph, ids: string[], before = new Set<string>()): string[] {
  return ids.flatMap((id) => {
    if (before.has(id) || graph[id] === undefined) return [];
    before.add(id);
    return [...executionOrder(graph, sourcesOf(graph, id), before), id];
  });
}

function sourcesOf(graph: Graph, id: string): string[] {
  const links = Object.values(nodeOf(graph, id).inputs).filter((value) => Array.isArray(value));
  return links.map(([source]) => String(source));
}

/** The node of a class that stands before `id`, or is it. */
export function upstream(graph: Graph, id: string, classType: string): GraphNode | undefined {
  return executionOrder(graph, [id])
    .map((source) => nodeOf(graph, source))
    .find(({ class_type }) => class_type === classType);
}

/** What a node's result depends on; an uploaded file never changes under its name. */
export function cacheKeys(graph: Graph, order: string[]): Map<string, string> {
  const keys = new Map<string, string>();
  for (const id of order) {
    const { class_type, inputs } = nodeOf(graph, id);
    const sources = Object.entries(inputs).map(([name, value]) => {
      return Array.isArray(value) ? [name, keys.get(String(value[0])), value[1]] : [name, value];
    });
    keys.set(
      id,
      createHash("sha256")
        .update(JSON.stringify([class_type, sources]))
        .digest("hex"),
    );
  }
  return keys;
}

/** The inputs that are not links, by the class of their node. */
export function literalsByClass(graph: Graph): Record<string, Record<string, unknown>> {
  return Object.fromEntries(
    Object.values(graph).map(({ class_type, inputs }) => {
      const literals = Object.entries(inputs).filter(([, value]) => !Array.isArray(value));
      return [class_type, Object.fromEntries(literals)];
    }),
  );
}
