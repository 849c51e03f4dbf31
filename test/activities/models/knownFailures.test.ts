import assert from "node:assert/strict";
import { explain } from "../../../src/activities/models/knownFailures.ts";

type Model = Parameters<typeof explain>[0];

/** What models were seen, or are known, to say; what the caller reads; whether the node is to blame. */
const table: [model: Model, said: string, sentence: string | RegExp, nodeBroken: boolean][] = [
  [
    "portrait",
    "ComfyUI failed in SONIC_PreData (node 34): local variable 'bbox_s' referenced before assignment",
    /^no face/,
    false,
  ],
  ["portrait", "cannot access local variable 'bbox_s' where it is not associated with a value\n", /^no face/, false],
  [
    "portrait",
    "ComfyUI failed in SONICSampler (node 13): CUDA out of memory. Tried to allocate 2.00 GiB",
    "the node ran out of memory",
    true,
  ],
  [
    "portrait",
    "Allocation on device 0 would exceed allowed memory. (out of memory)",
    "the node ran out of memory",
    true,
  ],
  [
    "portrait",
    "ComfyUI failed in VHS_VideoCombine (node 21): [Errno 28] No space left on device",
    "the disk of the node is full",
    true,
  ],
  [
    "portrait",
    "ComfyUI failed in SONICTLoader (node 31): [Errno 2] No such file or directory: '/app/models/sonic/unet.pth'",
    "a model file is missing on the node",
    true,
  ],
  [
    "portrait",
    "ComfyUI refused the graph: ImageOnlyCheckpointLoader (node 33): Value not in list (ckpt_name: 'svd_xt.safetensors' not in [])",
    /svd_xt\.safetensors/,
    true,
  ],
  [
    "portrait",
    "ComfyUI refused the graph: Cannot execute because node SONIC_PreData does not exist.",
    /SONIC_PreData does not exist/,
    true,
  ],
  [
    "portrait",
    "ComfyUI refused the graph: SONICSampler (node 13): Value 0 smaller than min of 1",
    /smaller than min/,
    false,
  ],
  ["portrait", "ComfyUI lost the run, twice", "ComfyUI lost the run, twice", true],
  ["portrait", "ComfyUI ended without a video", "ComfyUI ended without a video", false],
  ["portrait", "the run was interrupted on the node", "the run was interrupted on the node", false],

  [
    "csm",
    "Generation failed: Inputs too long, must be below max_seq_len - max_generation_len: 1923",
    /more than the model can have in mind/,
    false,
  ],
  ["csm", "Generation failed: Expecting value: line 1 column 1 (char 0)", /monologue/, false],
  ["csm", "Generation failed: stack expects a non-empty TensorList", /nothing to say/, false],
  ["csm", "Generation failed: probability tensor contains either `inf`, `nan` or element < 0", /temperature/, false],
  [
    "csm",
    "Generation failed: Error opening '/tmp/gradio/1a/voice.mp3': Format not recognised.",
    /recording of the voice/,
    false,
  ],
  [
    "csm",
    "Generation failed: CUDA error: device-side assert triggered\nCUDA kernel errors might be",
    "the GPU of the node fails",
    true,
  ],
  ["csm", "Generation failed: CUDA error: an illegal memory access was encountered", "the GPU of the node fails", true],
  ["csm", "Generation failed: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "the GPU of the node fails", true],
  ["csm", "Generation failed: No CUDA GPUs are available", "the GPU of the node fails", true],
  [
    "csm",
    "Generation failed: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate",
    "the node ran out of memory",
    true,
  ],
  ["csm", "the model failed without a reason", "the model failed without a reason", false],
  ["csm", "Generation failed: a fault of the simulator", "a fault of the simulator", false],

  [
    "whisper",
    "'zz' is not a valid language code (accepted language codes: af, am)",
    /does not know this language/,
    false,
  ],
  [
    "whisper",
    "Error: 'CUDA out of memory' is not a valid language code (accepted: af)",
    /does not know this language/,
    false,
  ],
  ["whisper", "No default align-model for language: th", /cannot be given their times/, false],
  ["whisper", "Failed to load audio: ffmpeg version 4.4.2", /could not read the sound/, false],
  ["whisper", "No active speech found in audio", /no speech/, false],
  ["whisper", "CUDA failed with error out of memory", "the node ran out of memory", true],
  ["whisper", "Library libcudnn_ops_infer.so.8 is not found or cannot be loaded", "the GPU of the node fails", true],
  [
    "whisper",
    "Requested float16 compute type, but the target device or backend do not support efficient float16 computation.",
    "the GPU of the node fails",
    true,
  ],
  ["whisper", "Cannot access gated repo for url https://huggingface.co/pyannote/x", /tells speakers apart/, false],
  [
    "whisper",
    "An error happened while trying to locate the file on the Hub and we cannot find the requested files",
    /could not download/,
    false,
  ],
  ["whisper", "No module named 'whisperx'", "a program is missing on the node", true],

  ["analyze", "the model failed: illegal base64 data at input byte 0", "the model could not read the picture", false],
  ["analyze", "the model failed: Failed to load image or audio file", "the model could not read the picture", false],
  ["analyze", "the model failed: image: unknown format", "the model could not read the picture", false],
  ["analyze", '"llama3.2:3b" does not support vision', "this model does not look at pictures", false],
  ["analyze", "model requires more system memory (11.6 GiB) than is available (5.3 GiB)", /too little memory/, true],
  ["analyze", "llama runner process has terminated: cudaMalloc failed: out of memory", /too little memory/, true],
  [
    "analyze",
    "model runner has unexpectedly stopped, this may be due to resource limitations",
    /crashed over this question/,
    false,
  ],
  ["analyze", "timed out waiting for llama runner to start - progress 0.00", /could not load the model/, true],
  [
    "analyze",
    "unable to load model: /usr/share/ollama/.ollama/models/blobs/sha256-1",
    /could not load the model/,
    true,
  ],
  ["analyze", "input length exceeds the context length", /question is too long/, false],
  ["analyze", "an error was encountered while running the model: CUDA error", "the GPU of the node fails", true],
];

describe("what a failure of a model means", () => {
  for (const [model, said, sentence, nodeBroken] of table) {
    it(`${model}: ${said.slice(0, 70)}`, () => {
      const explained = explain(model, said);
      if (typeof sentence === "string") assert.equal(explained.sentence, sentence);
      else assert.match(explained.sentence, sentence);
      assert.equal(explained.nodeBroken, nodeBroken);
    });
  }

  it("is one line of what nobody knows, without tracebacks, paths and colours", () => {
    const traceback =
      "Traceback (most recent call last):\n  File \"/app/app.py\", line 3, in run\n    go()\n    ^^^^\nKeyError: 'left'\n";
    for (const [said, sentence] of [
      [traceback, "KeyError: 'left'"],
      [`Generation failed: it broke\n${traceback}`, "it broke"],
      ["cannot read /tmp/gradio/0a1b/job_reference.mp3: strange", "cannot read job_reference.mp3: strange"],
      ["cannot read 'C:\\Users\\me\\voice.wav'", "cannot read 'voice.wav'"],
      ["see https://example.com/a/b for more, and/or ask", "see https://example.com/a/b for more, and/or ask"],
      ["\u001b[31mred\u001b[0m\u0007", "red"],
      ["  \n\n", "the model failed without a reason"],
      ["", "the model failed without a reason"],
      ["Generation failed: ", "the model failed without a reason"],
    ] as const) {
      for (const model of ["csm", "whisper", "portrait", "analyze"] as const) {
        assert.deepEqual(explain(model, said), { sentence, nodeBroken: false });
      }
    }
  });

  it("is never longer than 300 characters, however much was said", () => {
    for (const said of [
      "strange ".repeat(1000),
      "x".repeat(100_000),
      `${"/a".repeat(50_000)} b`,
      "a\n".repeat(10_000),
    ]) {
      const startedAt = performance.now();
      const { sentence } = explain("csm", said);
      assert.ok(sentence.length <= 300 && !sentence.includes("\n"));
      assert.ok(performance.now() - startedAt < 1000, "it takes too long");
    }
  });
});
