import { status } from "@grpc/grpc-js";
import { isGrpcServiceError } from "@temporalio/client";
import { NamespaceNotFoundError } from "@temporalio/common";

/** What a caller is told of Temporal's trouble. */
export interface TemporalTrouble {
  code: "temporal_unavailable" | "temporal_overloaded" | "temporal_refused" | "temporal_namespace_missing";
  /** Without the names and addresses of what is inside. */
  message: string;
  retryAfterSeconds: number;
}

const silent: TemporalTrouble = {
  code: "temporal_unavailable",
  message: "The job service does not answer",
  retryAfterSeconds: 5,
};
const unreachable: TemporalTrouble = { ...silent, message: "The job service cannot be reached" };
const overloaded: TemporalTrouble = {
  code: "temporal_overloaded",
  message: "The job service has too much to do",
  retryAfterSeconds: 10,
};
/** Somebody has to act before these are over. */
const refused: TemporalTrouble = {
  code: "temporal_refused",
  message: "The job service does not accept the credentials of this API",
  retryAfterSeconds: 60,
};
const namespaceMissing: TemporalTrouble = {
  code: "temporal_namespace_missing",
  message: "The Temporal namespace of this service is missing, or is not prepared for it",
  retryAfterSeconds: 60,
};

/** Whatever is not listed is a server in trouble, too; what has no trouble is a mistake of ours. */
const troubles: Partial<Record<status, TemporalTrouble | undefined>> = {
  [status.CANCELLED]: silent,
  [status.DEADLINE_EXCEEDED]: silent,
  [status.RESOURCE_EXHAUSTED]: overloaded,
  [status.PERMISSION_DENIED]: refused,
  [status.UNAUTHENTICATED]: refused,
  [status.INVALID_ARGUMENT]: undefined,
};

/** Refusals by which nothing was done; after every other failure the server may have acted all the same. */
const refusals = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
]);

/** The one place that says what failures of calls of Temporal mean; undefined for errors that are none. */
export function temporalTrouble(error: unknown): TemporalTrouble | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof NamespaceNotFoundError) return namespaceMissing;
    if (!isGrpcServiceError(cause)) continue;
    // A namespace that was made by hand lacks the search attributes.
    const lacks = cause.code === status.NOT_FOUND ? /namespace/i : /search attribute/i;
    if (lacks.test(cause.details) && (troubles[cause.code] ?? unreachable) === unreachable) return namespaceMissing;
    return cause.code in troubles ? troubles[cause.code] : unreachable;
  }
  return undefined;
}

/** Whether the server may have done what it was asked for although the call failed. */
export function leavesOpen(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    // The SDK repeats calls: that the last try was one too many says nothing of those before.
    if (isGrpcServiceError(cause)) return !refusals.has(cause.code);
  }
  return false;
}
