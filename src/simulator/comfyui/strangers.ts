/**
 * What other clients and custom nodes leave in a ComfyUI's history and queue: outputs are whatever a node returned, and
 * a server in front of it, or an extension, may have put in things of its own.
 */
const prompt = (id: string) => [0, id, { 1: { class_type: "KSampler", inputs: {} } }, {}, ["1"]];
const success = { status_str: "success", completed: true, messages: [] };

export const strangeEntries: [id: string, entry: unknown][] = [
  ["paths", { prompt: prompt("paths"), outputs: { 1: { videos: ["/output/other.mp4"] } }, status: success, meta: {} }],
  ["untyped", { prompt: prompt("untyped"), outputs: { 1: { gifs: [{ filename: "other.gif" }] } }, status: success }],
  ["no-status", { prompt: prompt("no-status"), outputs: {}, status: null }],
  ["text", { prompt: prompt("text"), outputs: { 1: { text: ["a caption"], gifs: null, videos: "none" } }, status: {} }],
  [
    "bare",
    { prompt: prompt("bare"), outputs: { 1: null, 2: ["/x"], 3: 7 }, status: { status_str: 3, messages: "none" } },
  ],
  [
    "told",
    { prompt: prompt("told"), outputs: [], status: { status_str: "error", messages: ["failed", [], [1], null] } },
  ],
  ["no-prompt", { prompt: null, outputs: null, status: success }],
  ["other-prompt", { prompt: { id: "other-prompt", nodes: [] }, outputs: {}, status: success }],
  ["short", { prompt: [1], outputs: {}, status: success }],
  ["nothing", null],
  ["words", "done"],
  ["list", [1, 2, 3]],
  ["", {}],
];

export const strangeItems: unknown[] = [
  prompt("waits"),
  ["first", "id-after-a-text", {}],
  [3],
  [4, null, null],
  [5, 6, 7],
  { prompt_id: "an-object", priority: 1 },
  null,
  "words",
  [],
];
