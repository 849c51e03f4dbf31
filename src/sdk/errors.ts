/** What the API refused, in its own words. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  /** What programs read. */
  readonly code: string;
  readonly requestId: string | undefined;
  /** The job that may have been started, or changed: with the codes `job_start_unknown` and `outcome_unknown`. */
  readonly jobId: string | undefined;
  /** Of a bad body: a sentence per field. */
  readonly errors: Record<string, string>;
  /** When it can help to ask again. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    status: number,
    details: {
      error: string;
      code: string;
      request_id?: string;
      job_id?: string | undefined;
      errors?: Record<string, string> | undefined;
      retryAfterSeconds?: number | undefined;
    },
  ) {
    super(details.error);
    this.status = status;
    this.code = details.code;
    this.requestId = details.request_id;
    this.jobId = details.job_id;
    this.errors = details.errors ?? {};
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}
