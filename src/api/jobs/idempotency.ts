import { createHash } from "node:crypto";
import type { Context } from "hono";
import { v5 as uuidOf } from "uuid";
import type { JobSpec } from "../../jobs/job.ts";
import { TooLate, withinTime } from "../../lib/timeLimit.ts";
import type { Caller } from "../context.ts";
import { HttpError } from "../http/errors.ts";
import { StoreUnavailable } from "../http/storeErrors.ts";
import type { JobReader } from "./jobReader.ts";
import type { JobReading } from "./readJob.ts";
import { startUnknown } from "./submitJob.ts";

/**
 * Submissions under an `Idempotency-Key`: the job's id is made from tenant and key, so that Temporal itself
 * makes the job unique, and what was asked for is kept with it as a fingerprint.
 */

const MAX_KEY_CHARS = 255;
/** The namespace of the ids (RFC 9562 §5.5); another one would make other ids. */
const NAMESPACE = "5b1c3f0e-6a43-4d0e-9a57-2f5d3c1b7e90";

/** For the look at an earlier job under a key. */
const EARLIER_WITHIN_MS = 2000;

/** What a key makes of a submission. */
export interface IdempotentJob {
  id: string;
  fingerprint: string;
}

/**
 * @param asked all that makes two submissions the same
 * @returns undefined without a key
 * @throws HttpError 400
 */
export function idempotentJob(c: Context, { tenant }: Caller, asked: unknown): IdempotentJob | undefined {
  const key = c.req.header("Idempotency-Key");
  if (key === undefined) return undefined;
  if (key.length === 0 || key.length > MAX_KEY_CHARS) {
    const message = `Idempotency-Key must have 1 to ${MAX_KEY_CHARS} characters`;
    throw new HttpError(400, "invalid_idempotency_key", message);
  }
  return {
    id: uuidOf(JSON.stringify([tenant, key]), NAMESPACE),
    fingerprint: createHash("sha256").update(JSON.stringify(asked)).digest("base64url"),
  };
}

/**
 * Starts a job unless there is one already under its key, in Temporal or as a record that outlived it.
 * @param start starts it, and says whether it was not there yet
 * @returns whether there was one
 * @throws HttpError 422 when something else was asked for under the same key, 409 while that job is being removed
 */
export async function submitOnce(
  jobs: JobReader,
  { id, fingerprint }: JobSpec,
  caller: Caller,
  start: () => Promise<boolean>,
): Promise<boolean> {
  let earlier = await findUnlessStoreIsAway();
  if (earlier === undefined) {
    if (await start()) return false;
    earlier = await find().catch((cause) => {
      throw startUnknown(id)(cause);
    });
  }
  if (earlier === undefined) {
    throw new HttpError(409, "job_being_removed", "The job of this Idempotency-Key is being removed");
  }
  if (earlier.fingerprint === fingerprint) return true;
  throw new HttpError(422, "idempotency_key_reused", "This Idempotency-Key was used for another submission");

  /**
   * Temporal makes a job unique for as long as it keeps it. Jobs that are older are records in the object store, and a new
   * one does not wait for that.
   */
  async function findUnlessStoreIsAway(): Promise<JobReading | undefined> {
    try {
      return await withinTime(find(), EARLIER_WITHIN_MS);
    } catch (error) {
      if (error instanceof StoreUnavailable || error instanceof TooLate) return undefined;
      throw error;
    }
  }

  async function find(): Promise<JobReading | undefined> {
    try {
      return await jobs.readNow(id, caller);
    } catch (error) {
      if (error instanceof HttpError && error.status === 404) return undefined;
      throw error;
    }
  }
}
