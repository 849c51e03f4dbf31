import type { ModelStep } from "../jobs/steps.ts";

const CHARACTERS_PER_SECOND = 14;

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
        spoken = step.input.monologue.join(" ").length / CHARACTERS_PER_SECOND;
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
