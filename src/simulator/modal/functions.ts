import { z } from "zod";

/** Which of the two functions that are deployed here: its arguments and answers differ. */
export type Contract = "c3-render" | "musetalk-poc";

export const functions: { contract: Contract; app: string; name: string; id: string }[] = [
  { contract: "c3-render", app: "musetalk", name: "lip_sync", id: "fu-musetalk" },
  { contract: "musetalk-poc", app: "musetalk-poc", name: "run_inference", id: "fu-musetalk-poc" },
];

export const nameOf = (contract: Contract) => functions.find((known) => known.contract === contract)?.name;

/** Keyword arguments, and nothing that the function does not know. */
const lipSyncArguments = z.strictObject({
  job_id: z.string(),
  video_url: z.string().nullish(),
  image_url: z.string().nullish(),
  audio_url: z.string(),
  version: z.enum(["v15", "v1"]).default("v15"),
  return_as: z.enum(["url", "path", "bytes"]).optional(),
});
const runInferenceArguments = z
  .strictObject({
    video_path: z.null().optional(),
    audio_path: z.null().optional(),
    video_url: z.string().nullish(),
    image_url: z.string().nullish(),
    audio_url: z.string(),
    version: z.enum(["v15", "v1"]).default("v15"),
    use_float16: z.boolean().default(true),
  })
  .transform((given) => ({ ...given, job_id: undefined, return_as: undefined }));
export const argumentSchemas = { "c3-render": lipSyncArguments, "musetalk-poc": runInferenceArguments };
export type LipSyncArguments = z.infer<typeof lipSyncArguments> | z.infer<typeof runInferenceArguments>;

/** What the function raises, named as Python names it. */
export class PythonError extends Error {
  override name = "PythonError";
  readonly reason: string;

  constructor(type: string, message: string) {
    super(`${type}('${message}')`);
    this.reason = message;
  }
}

/** The function was not called as it must be, and so never ran. */
export class WrongCall extends PythonError {
  override name = "WrongCall";

  constructor(message: string) {
    super("TypeError", message);
  }
}
