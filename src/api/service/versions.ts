import { status } from "@grpc/grpc-js";
import { type Client, isGrpcServiceError } from "@temporalio/client";
import { DEPLOYMENT } from "../../temporal/connection.ts";
import { temporalCall } from "../http/temporalCall.ts";
import { temporalTrouble } from "../http/temporalErrors.ts";

/** `WorkerDeploymentVersionStatus` of the Temporal API, by its numbers. */
export const versionStatuses = ["unspecified", "inactive", "current", "ramping", "draining", "drained"] as const;

export interface WorkerVersion {
  id: string;
  status: (typeof versionStatuses)[number];
  /** Epoch milliseconds at which it was last current; undefined: never. */
  currentAt: number | undefined;
}

export interface WorkerVersions {
  /** New workflows begin on it, and workers of no other version get any; undefined: workers need no version. */
  current: string | undefined;
  versions: WorkerVersion[];
  /** Given back with a change, which is refused if there was another one meanwhile. */
  conflictToken: Uint8Array;
}

/** The versions that workers have announced, newest first. @returns undefined when none ever did */
export async function readVersions(client: Client, timeoutMs?: number): Promise<WorkerVersions | undefined> {
  const { namespace } = client.options;
  const describe = () =>
    client.workflowService.describeWorkerDeployment({ namespace, deploymentName: DEPLOYMENT }).catch(unlessUnknown);
  const found = await temporalCall(client, describe, timeoutMs);
  if (found === undefined) return undefined;
  const { routingConfig, versionSummaries } = found.workerDeploymentInfo ?? {};
  const versions = (versionSummaries ?? []).map(
    ({ deploymentVersion, status, lastCurrentTime, currentSinceTime, lastDeactivationTime }) => ({
      id: deploymentVersion?.buildId ?? "",
      status: versionStatuses.at(status ?? 0) ?? "unspecified",
      currentAt: millisecondsOf(currentSinceTime ?? lastCurrentTime ?? lastDeactivationTime),
    }),
  );
  return {
    current: routingConfig?.currentDeploymentVersion?.buildId || undefined,
    versions,
    conflictToken: found.conflictToken ?? new Uint8Array(),
  };
}

/**
 * Makes a version current; null: workers without one get what is new. @throws what Temporal says of one that is not known, or that does not poll all the task queues
 */
export async function makeCurrent(client: Client, buildId: string | null, conflictToken: Uint8Array): Promise<void> {
  const { namespace } = client.options;
  await client.workflowService.setWorkerDeploymentCurrentVersion({
    ...{ namespace, deploymentName: DEPLOYMENT, buildId: buildId ?? "", conflictToken, identity: "c3-render" },
  });
}

function millisecondsOf(time: { seconds?: unknown } | null | undefined): number | undefined {
  const seconds = Number(time?.seconds ?? 0);
  return seconds > 0 ? seconds * 1000 : undefined;
}

/** A server may be from before there were versions, have them switched off, or not show them to us. */
const NO_VERSIONS = new Set([
  status.NOT_FOUND,
  status.UNIMPLEMENTED,
  status.INVALID_ARGUMENT,
  status.FAILED_PRECONDITION,
  status.PERMISSION_DENIED,
]);

function unlessUnknown(error: unknown): undefined {
  const isMissing = temporalTrouble(error)?.code === "temporal_namespace_missing";
  if (isGrpcServiceError(error) && NO_VERSIONS.has(error.code) && !isMissing) return undefined;
  throw error;
}
