/** Settings of the service that c3-render replaces which do nothing any more, and what does their work. */
const replacements: Record<string, string> = {
  C3_RENDER_KEY:
    "the key that callers need is C3_RENDER_API_KEY, or C3_RENDER_KEYS_FILE; without these the API asks for none",
  API_KEY: "the key that callers need is C3_RENDER_API_KEY, the one that GPUs are rented with C3_API_KEY",
  DEFAULT_COMPLETE_BY: "it is DEFAULT_COMPLETE_IN, in seconds",
  GPU_WORKER_DELAY: "a job starts when a GPU is free; PRE_LAUNCH_TIMEOUT delays further GPUs",
  NO_GPU_WORKER_DELAY: "a job that waits asks nobody; failed launches are tried again after 5, 15, 30, 45 and 60 s",
  LOCK_RETRY_INTERVAL: "there are no locks: one workflow owns each GPU",
  QUEUE_CHECK_INTERVAL: "there is no queue to be polled",
  WORKER_POLLING_INTERVAL: "there is no queue to be polled",
  QUEUE_POLLING_INTERVAL: "there is no queue to be polled",
  JOB_POLLING_INTERVAL: "there is no queue to be polled",
};
const NO_REDIS =
  "there is no Redis: Temporal keeps the jobs (RATE_LIMIT_REDIS_URL is for limits that several APIs share)";

export interface ReplacedVariable {
  name: string;
  instead: string;
}

/** The variables of `env` that are set, used to mean something and are ignored. */
export function replacedVariables(env: Record<string, string | undefined>): ReplacedVariable[] {
  return Object.entries(env).flatMap(([name, value]) => {
    const instead = name.startsWith("REDIS_") ? NO_REDIS : replacements[name];
    return value === undefined || value === "" || instead === undefined ? [] : [{ name, instead }];
  });
}
