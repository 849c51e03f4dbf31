import { log, setCurrentDetails, upsertMemo, upsertSearchAttributes } from "@temporalio/workflow";
import { searchAttributes } from "../contracts/names.ts";
import type { Lease, LeaseRequest } from "../gpus/types.ts";
import { costOf } from "../gpus/usage.ts";
import { initialView, type JobEnding, type JobSpec, type JobView, withEvent } from "../jobs/job.ts";

/** A job's wish for a GPU as the census reads it from the memo (key `waiting`). */
export interface Waiting {
  gpuType: string;
  request: LeaseRequest;
}

/** What the world is told of a job: its memo, search attributes, log and details in the Web UI. */
export interface JobRecord {
  readonly view: JobView;
  /** Set once: the first recorded ending wins. */
  readonly ending: JobEnding | undefined;
  /**
   * Nothing happens once the job has an ending.
   * @param event a few plain words for the timeline
   */
  update(patch: Partial<JobView>, event: string): void;
  /** Tells the census that the job waits for a GPU, or no longer does. */
  waitsFor(waiting: Waiting | undefined): void;
  /** From now on there is no such job. */
  remove(): void;
  readonly removed: boolean;
  /** Charges the job with a lease that ended at `at` (epoch milliseconds). */
  charge(lease: Lease, at: number): void;
  /** Records how the job ends; false when it already had an ending. */
  end(ending: JobEnding, patch?: Partial<JobView>): boolean;
  /** Another ending stands, because the caller was told it. */
  correct(ending: JobEnding, patch?: Partial<JobView>): void;
}

export function createJobRecord(job: JobSpec): JobRecord {
  let view = initialView(job);
  let ending: JobEnding | undefined;
  let removed = false;

  function write(patch: Partial<JobView>, event: string): void {
    const changesState = patch.state !== undefined && patch.state !== view.state;
    view = withEvent({ ...view, ...patch }, Date.now(), event);
    upsertMemo({ view });
    if (changesState) upsertSearchAttributes([{ key: searchAttributes.jobState, value: view.state }]);
    setCurrentDetails(describe(view));
    log.info(event, { jobId: view.id, state: view.state, stage: view.stage, gpu: view.gpu?.id });
  }

  function conclude(next: JobEnding, patch: Partial<JobView> = {}): void {
    ending = next;
    const { stage: _over, error: _other, ...rest } = view;
    view = rest;
    const error = next.error === undefined ? {} : { error: next.error };
    write({ ...patch, ...error, state: next.state, finishedAt: new Date(Date.now()).toISOString() }, next.state);
  }

  return {
    get view() {
      return view;
    },
    get ending() {
      return ending;
    },
    get removed() {
      return removed;
    },
    update(patch, event) {
      // What a step still does while it is being cancelled changes nothing any more.
      if (ending === undefined) write(patch, event);
    },
    remove() {
      removed = true;
      upsertMemo({ removed });
    },
    waitsFor(waiting) {
      upsertMemo({ waiting: waiting ?? null });
    },
    charge({ before, grantedAt, ratePerHour }, at) {
      const { bootMs, idleMs, busyMs, cost } = view.usage ?? { bootMs: 0, idleMs: 0, busyMs: 0, cost: 0 };
      const heldMs = Math.max(0, at - grantedAt);
      const added = costOf(before.bootMs + before.idleMs + heldMs, ratePerHour);
      const usage = {
        bootMs: bootMs + before.bootMs,
        idleMs: idleMs + before.idleMs,
        busyMs: busyMs + heldMs,
        ...(cost !== undefined && added !== undefined && { cost: cost + added }),
      };
      view = { ...view, usage };
      // Otherwise it is shown with the ending.
      if (ending !== undefined) upsertMemo({ view });
    },
    end(next, patch) {
      if (ending !== undefined) return false;
      conclude(next, patch);
      return true;
    },
    correct: conclude,
  };
}

function describe(view: JobView): string {
  const stage = view.stage === undefined ? "" : `, ${view.stage}`;
  const lines = [
    `**${view.type}** job: ${view.state}${stage}${view.error === undefined ? "" : `: ${view.error}`}`,
    `- to be completed by ${view.completeBy} (\`complete_in\`)`,
    `- at most ${view.maxTimeSeconds} s of processing (\`max_time\`)`,
    view.gpu === undefined ? undefined : `- GPU ${view.attempts}: \`${view.gpu.id}\` on \`${view.gpu.node}\``,
    "",
    ...view.timeline.map(({ at, event }) => `- ${at} ${event}`),
  ];
  return lines.filter((line) => line !== undefined).join("\n");
}
