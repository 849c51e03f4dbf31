import { LRUCache } from "lru-cache";
import { isFinal } from "../../jobs/states.ts";
import type { ApiDeps, Caller } from "../context.ts";
import { findJob, type JobFound, type JobReading, shownTo } from "./readJob.ts";

/** Front ends poll several times a second; looking at a job is most of what such a request costs. */
const LIVE_KEPT_FOR_MS = 250;
/** An ended job changes only by being removed, perhaps through another process. */
const FINAL_KEPT_FOR_MS = 2000;
/** Each has some kilobytes. */
const MAX_KEPT = 1000;

/** Reads jobs for everybody who asks in this process, and keeps what it read for a moment. */
export interface JobReader {
  /**
   * A job that the caller may see, as it was a moment ago. Who asks at the same time shares one look at it.
   * @throws HttpError 404, 503
   */
  read(id: string, caller: Caller): Promise<JobReading>;
  /** The same, but a job that had not ended a moment ago is looked at again: for who may have been told that it has. */
  readEnd(id: string, caller: Caller): Promise<JobReading>;
  /** The job as it is now: for whoever changes it. What was kept of it is replaced. */
  readNow(id: string, caller: Caller): Promise<JobReading>;
}

interface Kept {
  found: Promise<JobFound>;
  /** `performance.now()` from which on it is not taken any more; not before it is there. */
  until: number;
  isFinal: boolean;
}

export function createJobReader(deps: Pick<ApiDeps, "client" | "store">): JobReader {
  const kept = new LRUCache<string, Kept>({ max: MAX_KEPT });

  function look(id: string): Kept {
    const entry: Kept = { found: findJob(deps, id), until: Number.POSITIVE_INFINITY, isFinal: false };
    // Whoever asks later gets the later look, also when an earlier one takes longer.
    kept.set(id, entry);
    entry.found.then(
      (found) => {
        entry.isFinal = "view" in found && isFinal(found.view.state);
        entry.until = performance.now() + (entry.isFinal ? FINAL_KEPT_FOR_MS : LIVE_KEPT_FOR_MS);
      },
      () => {
        if (kept.get(id) === entry) kept.delete(id);
      },
    );
    return entry;
  }

  function fresh(id: string): Kept | undefined {
    const entry = kept.get(id);
    return entry !== undefined && performance.now() < entry.until ? entry : undefined;
  }

  return {
    read: async (id, caller) => shownTo(caller, await (fresh(id) ?? look(id)).found),
    async readEnd(id, caller) {
      const entry = fresh(id);
      return shownTo(caller, await (entry?.isFinal ? entry : look(id)).found);
    },
    readNow: async (id, caller) => shownTo(caller, await look(id).found),
  };
}
