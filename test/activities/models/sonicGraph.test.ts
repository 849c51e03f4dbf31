import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { runIdOf } from "../../../src/activities/models/runId.ts";
import {
  checkPortraitGraph,
  fillTemplate,
  loadPortraitGraph,
  type PortraitValues,
  sonicGraph,
} from "../../../src/activities/models/sonicGraph.ts";
import type { Graph } from "../../../src/clients/comfyui.ts";

const values: PortraitValues = {
  image: "face (1).jpg",
  audio: "speech.mp3",
  width: 640,
  height: 362,
  duration: 11,
  seed: 4_294_967_295,
  filename_prefix: "Video_5b5e0c9e_0d4f0f0e",
};

/** The node of a class, of which there is one. */
function nodeOf(graph: Graph, className: string) {
  const found = Object.entries(graph).filter(([, node]) => node.class_type === className);
  assert.equal(found.length, 1, `${found.length} nodes of ${className}`);
  return { id: found[0]![0], inputs: found[0]![1].inputs };
}

/** The inputs of a class: links as `Class.output`, everything else as it is. */
function inputsOf(graph: Graph, className: string): Record<string, unknown> {
  const { inputs } = nodeOf(graph, className);
  const named = ([name, value]: [string, unknown]) => {
    if (!Array.isArray(value)) return [name, value];
    assert.equal(value.length, 2);
    return [name, `${graph[String(value[0])]?.class_type}.${value[1]}`];
  };
  return Object.fromEntries(Object.entries(inputs).map(named));
}

describe("sonicGraph", () => {
  const graph = sonicGraph(values);

  it("has the nodes of the original, by their ids", () => {
    assert.deepEqual(Object.keys(graph).sort(), ["13", "18", "21", "26", "31", "32", "33", "34", "58"]);
    assert.equal(new Set(Object.values(graph).map((node) => node.class_type)).size, 9);
  });

  it("resizes the picture to its own size, and shows it", () => {
    assert.deepEqual(inputsOf(graph, "LoadImage"), { image: values.image });
    assert.deepEqual(inputsOf(graph, "ImageResize+"), {
      image: "LoadImage.0",
      width: 640,
      height: 362,
      interpolation: "nearest",
      method: "stretch",
      condition: "always",
      multiple_of: 0,
    });
    assert.deepEqual(inputsOf(graph, "PreviewImage"), { images: "ImageResize+.0" });
  });

  it("animates it by the sound with SONIC on Stable Video Diffusion", () => {
    assert.deepEqual(inputsOf(graph, "LoadAudio"), { audio: values.audio });
    assert.deepEqual(inputsOf(graph, "ImageOnlyCheckpointLoader"), { ckpt_name: "svd_xt.safetensors" });
    assert.deepEqual(inputsOf(graph, "SONICTLoader"), {
      model: "ImageOnlyCheckpointLoader.0",
      sonic_unet: "unet.pth",
      ip_audio_scale: 1,
      use_interframe: true,
      dtype: "bf16",
    });
    assert.deepEqual(inputsOf(graph, "SONIC_PreData"), {
      clip_vision: "ImageOnlyCheckpointLoader.1",
      vae: "ImageOnlyCheckpointLoader.2",
      audio: "LoadAudio.0",
      image: "ImageResize+.0",
      weight_dtype: "SONICTLoader.1",
      min_resolution: 576,
      duration: 11,
      expand_ratio: 1,
    });
    assert.deepEqual(inputsOf(graph, "SONICSampler"), {
      model: "SONICTLoader.0",
      data_dict: "SONIC_PreData.0",
      seed: 4_294_967_295,
      inference_steps: 25,
      dynamic_scale: 1,
      fps: 24,
    });
  });

  it("makes an MP4 of it, as long as the sound", () => {
    assert.deepEqual(inputsOf(graph, "VHS_VideoCombine"), {
      images: "SONICSampler.0",
      audio: "LoadAudio.0",
      frame_rate: "SONICSampler.1",
      loop_count: 0,
      filename_prefix: values.filename_prefix,
      format: "video/h264-mp4",
      pix_fmt: "yuv420p",
      crf: 19,
      save_metadata: true,
      trim_to_audio: true,
      pingpong: false,
      save_output: true,
    });
  });
});

const template = {
  "1": { class_type: "LoadImage", inputs: { image: "{{image}}" }, _meta: { title: "the face" } },
  "2": { class_type: "LoadAudio", inputs: { audio: "{{audio}}" } },
  "3": {
    class_type: "Sampler",
    inputs: {
      model: ["1", 0],
      checkpoint: "svd_xt.safetensors",
      seed: "{{seed}}",
      size: ["{{width}}", "{{height}}"],
      nested: { seconds: "{{duration}}", on: true, none: null },
      note: "{{width}}x{{height}}, {{duration}} s",
      untouched: 7.5,
    },
  },
  "4": { class_type: "VHS_VideoCombine", inputs: { filename_prefix: "{{filename_prefix}}", images: ["3", 0] } },
};
const filled = (change: (text: string) => string = (text) => text) =>
  fillTemplate(change(JSON.stringify(template)), values);

describe("fillTemplate", () => {
  it("puts the values in, numbers as numbers", () => {
    assert.deepEqual(filled(), {
      "1": { class_type: "LoadImage", inputs: { image: "face (1).jpg" }, _meta: { title: "the face" } },
      "2": { class_type: "LoadAudio", inputs: { audio: "speech.mp3" } },
      "3": {
        class_type: "Sampler",
        inputs: {
          model: ["1", 0],
          checkpoint: "svd_xt.safetensors",
          seed: 4_294_967_295,
          size: [640, 362],
          nested: { seconds: 11, on: true, none: null },
          note: "640x362, 11 s",
          untouched: 7.5,
        },
      },
      "4": { class_type: "VHS_VideoCombine", inputs: { filename_prefix: values.filename_prefix, images: ["3", 0] } },
    });
  });

  it("puts a seed of 0 in as well", () => {
    assert.equal(fillTemplate(JSON.stringify(template), { ...values, seed: 0 })["3"]?.inputs.seed, 0);
  });

  it("takes a value for nothing but text, whatever is in it", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.constantFrom('a"b', "{{audio}}", "$&", "\\", "$1{{seed}}")), (image) => {
        assert.equal(fillTemplate(JSON.stringify(template), { ...values, image })["1"]?.inputs.image, image);
      }),
    );
  });

  it("refuses a template without a place for the picture, the sound or the file's name", () => {
    for (const name of ["image", "audio", "filename_prefix"]) {
      const message = `the template has no {{${name}}}`;
      assert.throws(() => filled((text) => text.replace(`{{${name}}}`, "fixed")), { message });
    }
  });

  it("needs no place for the other values", () => {
    const graph = filled((text) => text.replace('"{{seed}}"', "42"));
    assert.equal(graph["3"]?.inputs.seed, 42);
  });

  it("leaves words alone that only look like its own", () => {
    const looks = ["{{}}", "{width}", "width", "constructor"];
    for (const text of looks) {
      const graph = filled((whole) => whole.replace("svd_xt.safetensors", text));
      assert.equal(graph["3"]?.inputs.checkpoint, text);
    }
  });

  it("refuses a placeholder that it does not know, so that a slip is seen", () => {
    for (const text of ["{{widht}}", "a {{toString}} b", "{{constructor}}"]) {
      assert.throws(() => filled((whole) => whole.replace("svd_xt.safetensors", text)), /is no placeholder/);
    }
  });

  it("refuses what is no graph of the API's format", () => {
    const places = "{{image}} {{audio}} {{filename_prefix}}";
    assert.throws(() => fillTemplate(places, values), SyntaxError);
    for (const other of [
      places,
      [places],
      { nodes: [{ id: 1, type: places }], links: [] },
      { "1": { inputs: { places } } },
    ]) {
      assert.throws(() => fillTemplate(JSON.stringify(other), values));
    }
  });
});

describe("the portrait graph of an operator", () => {
  let folder: string;
  let workflowFile: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-graph-"));
    workflowFile = join(folder, "graph.json");
    await writeFile(workflowFile, JSON.stringify(template));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("is SONIC's without a template", async () => {
    assert.deepEqual(await loadPortraitGraph({ workflowFile: undefined, names: {} }, values), sonicGraph(values));
  });

  it("is the template's, if there is one", async () => {
    assert.deepEqual(await loadPortraitGraph({ workflowFile, names: {} }, values), filled());
  });

  it("has the names that the operator's ComfyUI knows, of classes and of files", async () => {
    const names = {
      "svd_xt.safetensors": "svd/xt-1.1.safetensors",
      SONICSampler: "SonicSampler2",
      Sampler: "Sampler2",
    };
    const graph = await loadPortraitGraph({ workflowFile: undefined, names }, values);
    assert.equal(nodeOf(graph, "ImageOnlyCheckpointLoader").inputs.ckpt_name, "svd/xt-1.1.safetensors");
    assert.equal(nodeOf(graph, "SonicSampler2").inputs.seed, values.seed);
    assert.equal(inputsOf(graph, "VHS_VideoCombine").images, "SonicSampler2.0");
    // Everything else is as it was.
    const back = JSON.stringify(graph).replace("SonicSampler2", "SONICSampler").replace("svd/xt-1.1", "svd_xt");
    assert.deepEqual(JSON.parse(back), sonicGraph(values));
    const own = await loadPortraitGraph({ workflowFile, names }, values);
    assert.equal(own["3"]?.class_type, "Sampler2");
    assert.equal(own["3"]?.inputs.checkpoint, "svd/xt-1.1.safetensors");
  });

  it("keeps a word that no name was given for, whatever the word", async () => {
    const text = JSON.stringify(template).replace("svd_xt.safetensors", "constructor");
    await writeFile(workflowFile, text);
    const graph = await loadPortraitGraph({ workflowFile, names: {} }, values);
    assert.equal(graph["3"]?.inputs.checkpoint, "constructor");
  });

  it("is checked before it is needed: without a template, or with a right one", async () => {
    await checkPortraitGraph({ workflowFile: undefined, names: { "unet.pth": "sonic.pth" } });
    await checkPortraitGraph({ workflowFile, names: {} });
  });

  it("is refused with the setting's name and the reason", async () => {
    const refused = async (text: string, reason: RegExp) => {
      await writeFile(workflowFile, text);
      await assert.rejects(checkPortraitGraph({ workflowFile, names: {} }), (error: Error) => {
        assert.match(error.message, /^PORTRAIT_WORKFLOW cannot be used: /);
        assert.match(error.message, reason);
        return true;
      });
    };
    const right = JSON.stringify(template);
    await refused(right.replace("{{audio}}", "speech.mp3"), /\{\{audio\}\}/);
    await refused(right.slice(0, -1), /JSON/);
    await refused("", /\{\{image\}\}/);
    await refused(JSON.stringify({ nodes: [right], links: [] }), /no graph in ComfyUI's API format/);
    const missing = join(folder, "nothing.json");
    await assert.rejects(
      checkPortraitGraph({ workflowFile: missing, names: {} }),
      /PORTRAIT_WORKFLOW .*ENOENT.*nothing/,
    );
  });
});

describe("runIdOf", () => {
  const canonical = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

  it("is a UUID in its canonical, lower-case form, whatever the lease is called", () => {
    fc.assert(fc.property(fc.string(), (leaseId) => assert.match(runIdOf(leaseId), canonical)));
  });

  it("is the same for every attempt at a lease, also by a worker of another release", () => {
    fc.assert(fc.property(fc.string(), (leaseId) => assert.equal(runIdOf(leaseId), runIdOf(leaseId))));
    assert.equal(runIdOf("lease-1"), "62347e78-440f-89d7-a3a7-6daa7b7f9302");
  });

  it("differs from lease to lease", () => {
    const leases = [...Array(5000).keys()].map((index) => `5b5e0c9e-3f59-4f5f-9d8e-0d4f0f0e8a11-${index}`);
    assert.equal(new Set(leases.map(runIdOf)).size, leases.length);
    // Its start names the video and the uploaded files.
    assert.equal(new Set(leases.slice(0, 100).map((lease) => runIdOf(lease).slice(0, 8))).size, 100);
  });
});
