import type { Context } from "hono";
import { isFinal } from "../../jobs/states.ts";
import { timeLimit } from "../../lib/timeLimit.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { jobDocument } from "./jobDocument.ts";
import type { WatchJob } from "./jobWatch.ts";

const MAX_WAIT_SECONDS = 60;

/**
 * The seconds that the caller would like to wait for the end of the job (`Prefer: wait=10`, RFC 7240), at most a
 * minute; undefined when it does not say so in a way that can be understood, which is no error.
 */
export function preferredWaitSeconds(c: Context): number | undefined {
  const preference = /(?:^|,)\s*wait\s*=\s*"?(\d+)"?\s*(?:[;,]|$)/i.exec(c.req.header("Prefer") ?? "")?.[1];
  const seconds = Math.min(Number(preference ?? 0), MAX_WAIT_SECONDS);
  return seconds === 0 ? undefined : seconds;
}

/** The job's document when it has ended, or as it is after `seconds`; undefined when it cannot be seen by then. */
export async function documentAfter(
  c: Context<ApiEnv>,
  deps: ApiDeps,
  watchJob: WatchJob,
  { id, seconds }: { id: string; seconds: number },
) {
  const signal = timeLimit(seconds * 1000, c.req.raw.signal);
  let latest: Parameters<typeof jobDocument>[2] | undefined;
  for await (const reading of watchJob(id, signal)) {
    latest = reading;
    if (isFinal(reading.view.state)) break;
  }
  return latest && (await jobDocument(c, deps, latest));
}
