/** The object keys of c3-render: the only place that builds one. */
const jobFile = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

function fileName(name: string): string {
  if (!jobFile.test(name)) throw new RangeError(`"${name}" is not a plain file name`);
  return name;
}

/** A name that others have made, as a file's name. */
function plain(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9._-]/g, "_");
}

export const keys = {
  /** A job's main result; `extension` without the dot. */
  result: (jobId: string, extension: string) => `results/${jobId}.${fileName(extension)}`,
  /** A further file of a job. */
  resultFile: (jobId: string, name: string) => `results/${jobId}/${fileName(name)}`,
  /** A prepared input; removed when the job ends. */
  input: (jobId: string, name: string) => `inputs/${jobId}/${fileName(name)}`,
  /** Some items of a speech that is made in parts, from `from` up to, but without, `to`; removed with the inputs. */
  speechPart: (jobId: string, from: number, to: number) => `inputs/${jobId}/speech-${from}-${to}.mp3`,
  /** Which items a key of `inputsOf` holds, if it holds any. */
  speechPartOf(key: string): { from: number; to: number } | undefined {
    const [, from, to] = /\/speech-(\d+)-(\d+)\.mp3$/.exec(key) ?? [];
    return from === undefined || to === undefined ? undefined : { from: Number(from), to: Number(to) };
  },
  /** The ledger of a job's webhook. */
  webhook: (jobId: string) => `webhooks/${fileName(jobId)}.json`,
  /** What an operator set for a pool. */
  pool: (type: string) => `pools/${plain(type)}.json`,
  /** What a pool last said of itself. */
  poolReport: (type: string) => `waiting/pools/${plain(type)}.json`,
  /** How many jobs wait outside of the pools. */
  elsewhereReport: "waiting/elsewhere.json",
  /** What an instance cost. @param stoppedAt ISO 8601; entries are kept by its day */
  ledger: (stoppedAt: string, workload: string) => `ledger/${stoppedAt.slice(0, 10)}/${plain(workload)}.json`,
  /** @param day YYYY-MM-DD */
  ledgerOf: (day: string) => `ledger/${day}/`,
  /** What is kept of a job that ended, for longer than Temporal keeps it. */
  record: (jobId: string) => `records/${jobId}.json`,
  inputsOf: (jobId: string) => `inputs/${jobId}/`,
  /** The starts of all keys of a job. */
  everythingOf: (jobId: string) => [`results/${jobId}`, `inputs/${jobId}/`, `records/${jobId}`, `webhooks/${jobId}`],
  /** The starts of all keys of all jobs. */
  ofAllJobs: ["results/", "inputs/", "records/", "webhooks/"],
} as const;
