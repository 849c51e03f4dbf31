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
  inputsOf: (jobId: string) => `inputs/${jobId}/`,
} as const;
