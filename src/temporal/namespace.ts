import { setTimeout as delay } from "node:timers/promises";
import { Connection, isGrpcServiceError } from "@temporalio/client";
import { msToTs } from "@temporalio/common/lib/time.js";
import type { TemporalConfig } from "../config/index.ts";
import { connectionOptions, searchAttributes } from "./connection.ts";

/** gRPC status codes. */
const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const ALREADY_EXISTS = 6;
/** No such namespace, no such search attribute. */
const NOT_YET = new Set([NOT_FOUND, INVALID_ARGUMENT]);
const READY_TIMEOUT_MS = 30_000;
const DAY_MS = 86_400_000;
/** Values of `temporal.api.enums.v1.IndexedValueType`. */
const indexedTypes = { KEYWORD: 2, DATETIME: 6 } as const;

/**
 * Makes the namespace ready for jobs: registers it if it is not there (an existing one keeps its settings)
 * and adds the search attributes that are missing.
 * @throws when a search attribute exists with another type
 */
export async function ensureNamespace(temporal: TemporalConfig): Promise<void> {
  const connection = await Connection.connect(connectionOptions(temporal));
  try {
    await prepare(connection, temporal);
  } finally {
    await connection.close();
  }
}

async function prepare(connection: Connection, { namespace, retentionDays }: TemporalConfig): Promise<void> {
  if (!(await exists(connection, namespace))) {
    const workflowExecutionRetentionPeriod = msToTs(retentionDays * DAY_MS);
    await ignoring(ALREADY_EXISTS, () =>
      connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod }),
    );
  }
  await untilKnown(() => addMissingAttributes(connection, namespace));
  await untilKnown(() => useAttributes(connection, namespace));
}

async function exists(connection: Connection, namespace: string): Promise<boolean> {
  return (await ignoring(NOT_FOUND, () => connection.workflowService.describeNamespace({ namespace }))) !== undefined;
}

async function addMissingAttributes(connection: Connection, namespace: string): Promise<void> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  const missing: Record<string, number> = {};
  for (const { name, type } of Object.values(searchAttributes)) {
    const found = customAttributes[name];
    if (found === undefined || found === null) missing[name] = indexedTypes[type];
    else if (Number(found) !== indexedTypes[type]) {
      throw new Error(`the search attribute ${name} of namespace ${namespace} exists, but its type is not ${type}`);
    }
  }
  if (Object.keys(missing).length === 0) return;
  await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: missing });
}

/** Those that were just added, perhaps by another process, are refused at first. */
async function useAttributes(connection: Connection, namespace: string): Promise<void> {
  const query = Object.values(searchAttributes).map(({ name }) => `${name} IS NULL`);
  await connection.workflowService.countWorkflowExecutions({ namespace, query: query.join(" AND ") });
}

/** A new namespace, and what is new in it, reaches the parts of the server one after the other. */
async function untilKnown(call: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!isGrpcServiceError(error) || !NOT_YET.has(error.code) || performance.now() > deadline) throw error;
      await delay(50);
    }
  }
}

async function ignoring<T>(code: number, call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (isGrpcServiceError(error) && error.code === code) return undefined;
    throw error;
  }
}
