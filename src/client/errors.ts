/** What the API refused, in its own words. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  /** What programs read. */
  readonly code: string;
  readonly requestId: string | undefined;
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
      errors?: Record<string, string> | undefined;
      retryAfterSeconds?: number | undefined;
    },
  ) {
    super(details.error);
    this.status = status;
    this.code = details.code;
    this.requestId = details.request_id;
    this.errors = details.errors ?? {};
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}
