import type { InputName } from "../../jobs/inputs.ts";
import type { JobSpec } from "../../jobs/job.ts";

/**
 * The temporary name of an input, without its extension: `<job id>_input` for sound that is listened to or imitated,
 * `<job id>_portrait` and `<job id>_audio` for what is to speak and what it says. People find kept files by these names.
 */
export function inputFileName({ id, type }: Pick<JobSpec, "id" | "type">, name: InputName): string {
  switch (name) {
    case "reference_audio":
      return `${id}_input`;
    case "audio":
      return type === "whisper" ? `${id}_input` : `${id}_audio`;
    case "image":
      return type === "analyze" ? `${id}_image` : `${id}_portrait`;
    case "video":
      return `${id}_video`;
    default:
      return name satisfies never;
  }
}
