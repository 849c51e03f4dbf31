/** The object keys of c3-render: the only place that builds one. */
const jobFile = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

function fileName(name: string): string {
  if (!jobFile.test(name)) throw new RangeError(`"${name}" is not a plain file name`);
  return name;
}

export const keys = {
  /** A job's main result; `extension` without the dot. */
  result: (jobId: string, extension: string) => `results/${jobId}.${fileName(extension)}`,
  /** A further file of a job. */
  resultFile: (jobId: string, name: string) => `results/${jobId}/${fileName(name)}`,
  /** A prepared input; removed when the job ends. */
  input: (jobId: string, name: string) => `inputs/${jobId}/${fileName(name)}`,
  /** What an instance cost. @param stoppedAt ISO 8601; entries are kept by its day */
  ledger: (stoppedAt: string, workload: string) =>
    `ledger/${stoppedAt.slice(0, 10)}/${workload.replaceAll(/[^A-Za-z0-9._-]/g, "_")}.json`,
  /** @param day YYYY-MM-DD */
  ledgerOf: (day: string) => `ledger/${day}/`,
  inputsOf: (jobId: string) => `inputs/${jobId}/`,
} as const;
