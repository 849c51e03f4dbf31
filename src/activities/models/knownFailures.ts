import { stripVTControlCharacters } from "node:util";
import type { ModelStep } from "../../jobs/steps.ts";
import { oneLine } from "../../lib/text.ts";

/** What a failure of a model comes to. */
export interface Explanation {
  /** For the caller: one line, without tracebacks and paths of the node. */
  sentence: string;
  /** The node would fail whoever asks; otherwise it is what was asked for that failed. */
  nodeBroken: boolean;
}

interface KnownFailure {
  pattern: RegExp;
  /** undefined: the model's own words will do. */
  sentence?: string;
  nodeBroken?: true;
}

/** Looked at in this order, and before those of every node: a text of the caller may be in what a model says. */
const ofModel: Record<ModelStep["model"], KnownFailure[]> = {
  // https://github.com/SesameAILabs/csm/blob/main/generator.py
  csm: [
    {
      pattern: /Inputs too long/i,
      sentence: "the text, with the recording of the voice, is more than the model can have in mind at one time",
    },
    {
      pattern: /JSONDecodeError|Expecting (value|property name)|Extra data: line/i,
      sentence: "the model could not read the monologue",
    },
    {
      pattern:
        /Format not recognised|Error opening|LibsndfileError|(fail(ed)?|could not|couldn't|unable) to (load|open|read|decode).*(audio|sound|wav|mp3)/i,
      sentence: "the model could not read the recording of the voice",
    },
    { pattern: /non-empty (TensorList|list)/i, sentence: "the model found nothing to say in a part of the text" },
    {
      pattern: /probability tensor contains/i,
      sentence: "the model lost its way; another temperature or topk may help",
    },
  ],
  // https://github.com/m-bain/whisperX, https://github.com/SYSTRAN/faster-whisper
  whisper: [
    { pattern: /not a valid language code/i, sentence: "the transcription model does not know this language" },
    {
      pattern: /No default align-model|align-model .*could not be found/i,
      sentence: "the words of this language cannot be given their times",
    },
    {
      pattern: /No active speech|no speech (was )?(found|detected)/i,
      sentence: "no speech was found in the recording",
    },
    {
      pattern: /gated|use_auth_token|HF_TOKEN|hugging ?face.*token|speaker-diarization/i,
      sentence: "the node has no access to the model that tells speakers apart",
    },
    {
      pattern:
        /LocalEntryNotFound|locate the file on the Hub|couldn't connect to|Max retries exceeded|Invalid model size/i,
      sentence: "the node does not have the transcription model that was asked for, and could not download it",
    },
    {
      pattern:
        /(fail(ed)?|could not|unable) to (load|open|read|decode) (the )?audio|Invalid data found when processing|Output file .*does not contain any stream/i,
      sentence: "the transcription model could not read the sound",
    },
  ],
  // https://github.com/smthemex/ComfyUI_Sonic
  portrait: [
    { pattern: /\bbbox_s\b/, sentence: "no face was found in the picture, or it is too small" },
    { pattern: /non-empty (TensorList|list)/i, sentence: "the sound is too short for a portrait" },
    { pattern: /cannot identify image file|image file is truncated/i, sentence: "the node could not read the picture" },
    {
      pattern:
        /Invalid data found when processing|(fail(ed)?|could not|unable) to (load|open|read|decode).*audio|Format not recognised/i,
      sentence: "the node could not read the sound",
    },
    { pattern: /node .{1,80} does not exist|missing_node_type/i, nodeBroken: true },
    { pattern: /not in list.*\.(safetensors|pth|pt|ckpt|bin|onnx)\b/i, nodeBroken: true },
    { pattern: /lost the run, twice/, nodeBroken: true },
  ],
  // https://github.com/ollama/ollama/blob/main/server/routes.go
  analyze: [
    {
      pattern:
        /illegal base64|(fail(ed)?|could not|unable) to (load|decode|process) (the )?image|image: unknown format|(invalid|unsupported) image|bad image/i,
      sentence: "the model could not read the picture",
    },
    {
      pattern: /does not support (vision|images?|generate|multimodal)|missing data required for image input/i,
      sentence: "this model does not look at pictures",
    },
    {
      pattern:
        /exceeds? (the )?(available |maximum |model's )?context|context (length|window|size).*exceed|(prompt|input) (is )?too (long|large)/i,
      sentence: "the question is too long for the model",
    },
    {
      pattern: /requires more system memory|insufficient (system |video )?memory|cudaMalloc/i,
      sentence: "the node has too little memory for the model",
      nodeBroken: true,
    },
    {
      pattern:
        /(unable|failed) to (load|open|initialize) (the )?model|error loading model|waiting for (llama|model) runner to start/i,
      sentence: "the node could not load the model",
      nodeBroken: true,
    },
    // Ollama starts another one.
    {
      pattern: /runner (process )?(has |is )?(unexpectedly |no longer )?(stopped|terminated|running)/i,
      sentence: "the model crashed over this question",
    },
  ],
};

const ofEveryNode: KnownFailure[] = [
  {
    pattern: /out of memory|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED/i,
    sentence: "the node ran out of memory",
    nodeBroken: true,
  },
  {
    pattern: /cannot allocate memory|MemoryError|Unable to allocate|DefaultCPUAllocator|std::bad_alloc|\bENOMEM\b/i,
    sentence: "the node ran out of memory",
    nodeBroken: true,
  },
  {
    pattern: /No space left on device|Disk quota exceeded|\bENOSPC\b|Errno 28\b/i,
    sentence: "the disk of the node is full",
    nodeBroken: true,
  },
  {
    pattern: /Read-only file system|Input\/output error|Errno (5|30)\b/i,
    sentence: "the disk of the node fails",
    nodeBroken: true,
  },
  {
    pattern:
      /\b(CUDA|cuDNN|cuBLAS|cuFFT|NCCL|NVML|NVIDIA|HIP|ROCm)\b|\b(lib)?cu(dnn|blas|fft|dart)\w*|device-side assert|no kernel image|float16 compute type/i,
    sentence: "the GPU of the node fails",
    nodeBroken: true,
  },
  {
    pattern:
      /(No such file|FileNotFound|not found|does not exist|missing|cannot open).*\.(safetensors|pth|pt|ckpt|bin|onnx|gguf|pkl|yaml)\b/is,
    sentence: "a model file is missing on the node",
    nodeBroken: true,
  },
  {
    pattern:
      /PytorchStreamReader|UnpicklingError|invalid load key|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeaderDeserialization/i,
    sentence: "a model file on the node is damaged",
    nodeBroken: true,
  },
  {
    pattern: /ModuleNotFoundError|No module named|cannot import name|cannot open shared object/i,
    sentence: "a program is missing on the node",
    nodeBroken: true,
  },
];

/**
 * What a model's own words mean.
 * @param rawText as the model gave it, with whatever came with it
 */
export function explain(model: ModelStep["model"], rawText: string): Explanation {
  const known = [...ofModel[model], ...ofEveryNode].find(({ pattern }) => pattern.test(rawText));
  return { sentence: known?.sentence ?? plain(rawText), nodeBroken: known?.nodeBroken ?? false };
}

/** A whole path, of any system; not an address. */
const PATH = /(?<![\w:/.~])(?:~|[A-Za-z]:)?[/\\](?:[^\s'"`:,;()<>|/\\]+[/\\])+/g;

/** The line that says what happened: of a traceback the last one, of anything else the first. */
function plain(text: string): string {
  const lines = text
    .split(/\r?\n/)
    .map((line) =>
      stripVTControlCharacters(line)
        .replaceAll(/\p{Cc}/gu, " ")
        .trim(),
    )
    .filter((line) => line !== "" && !/^File "|^[\^~\s]+$/.test(line));
  const traced = lines.findIndex((line) => line.includes("Traceback (most recent call last)"));
  const told = traced === 0 ? lines.at(-1) : lines[0];
  const line = oneLine((told ?? "").replace(/^(Generation failed|Error): ?/, "").replaceAll(PATH, ""));
  return line === "" ? "the model failed without a reason" : line;
}
