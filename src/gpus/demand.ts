import type { JobSpec } from "../jobs/job.ts";
import { spokenSeconds } from "../jobs/speechLength.ts";
import type { ModelStep } from "../jobs/steps.ts";

/** Jobs of one kind take about equally long, in relation to what they are expected to take. */
export function kindOf(job: JobSpec): string {
  switch (job.type) {
    case "whisper":
    case "analyze":
      return `${job.type} ${job.input.model}`;
    case "portrait":
      return "speech" in job.input.sound ? "portrait with speech" : "portrait";
    case "csm":
    case "lipsync":
      return job.type;
    default:
      return job satisfies never;
  }
}

/**
 * How long a job is expected to hold a GPU, in seconds: rough figures, of use for ordering and for keeping jobs
 * away from instances that end soon.
 * @param soundSeconds the length of its sound input, if it has one
 */
export function expectedSeconds(steps: readonly ModelStep[], soundSeconds: number | undefined): number {
  let spoken = soundSeconds ?? 0;
  let total = 0;
  for (const step of steps) {
    switch (step.model) {
      case "csm":
        // CSM speaks at about the speed of speech.
        spoken = spokenSeconds(step.input.monologue.join(" "));
        total += 5 + spoken;
        break;
      case "whisper":
        total += 10 + spoken / 10;
        break;
      case "portrait":
        total += 30 + spoken * 10;
        break;
      case "analyze":
        total += 20;
        break;
      default:
        step satisfies never;
    }
  }
  return total;
}
