import type { JobSpec } from "./job.ts";
import type { AnalyzeInput } from "./kinds/analyze.ts";
import type { PortraitInput } from "./kinds/portrait.ts";
import type { WhisperInput } from "./kinds/whisper.ts";
import type { SpeechInput } from "./speech.ts";

/** One run of a model on a leased GPU. */
export type ModelStep =
  | { model: "csm"; input: SpeechInput }
  | { model: "whisper"; input: WhisperInput }
  | { model: "portrait"; input: PortraitInput }
  | { model: "analyze"; input: AnalyzeInput };

/** What is run for a job, one after the other, on one lease. Lip-sync runs elsewhere. */
export function stepsOf(job: JobSpec): ModelStep[] {
  switch (job.type) {
    case "csm":
      return [{ model: "csm", input: job.input }];
    case "whisper":
      return [{ model: "whisper", input: job.input }];
    case "portrait": {
      const speech: ModelStep[] = "speech" in job.input.sound ? [{ model: "csm", input: job.input.sound.speech }] : [];
      return [...speech, { model: "portrait", input: job.input }];
    }
    case "analyze":
      return [{ model: "analyze", input: job.input }];
    case "lipsync":
      return [];
    default:
      return job satisfies never;
  }
}
