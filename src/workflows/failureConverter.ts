import { DefaultFailureConverter } from "@temporalio/common";

/** Messages and stack traces of failures become payloads, which are encrypted like all others. */
export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
