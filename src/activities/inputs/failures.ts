import { open } from "node:fs/promises";
import { ApplicationFailure } from "@temporalio/activity";
import { fileTypeFromFile } from "file-type";
import { failureTypes } from "../../jobs/failureTypes.ts";
import { MachineLacks, ToolTrouble } from "../../media/verdict.ts";

const SNIFFED_BYTES = 512;
/** What a machine lacks: room, rights, files, memory. */
const LACKS = ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "EMFILE", "ENFILE", "ENOMEM"];
/** Until then, a worker that cannot write has stopped taking inputs. */
const ELSEWHERE_AFTER_MS = 15_000;

/** The caller's doing: trying again cannot help. The message names the field. */
export function invalid(field: string, message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(`${field}: ${message}`, failureTypes.invalidInput);
}

/** Ours, or of somebody's server: another attempt may succeed. */
export function forNow(field: string, message: string, type: string, waitMs?: number): ApplicationFailure {
  return ApplicationFailure.create({
    message: `${field}: ${message}`,
    type,
    ...(waitMs !== undefined && { nextRetryDelay: waitMs }),
  });
}

/** Of this machine: another may do better. What this one lacks is not for the caller. */
export function notHere(field: string | undefined, error: unknown): ApplicationFailure {
  const lack = isLack(error);
  const reason = error instanceof ToolTrouble && !lack ? ` (${error.message})` : "";
  const message = `could not be prepared on this worker${reason}`;
  return forNow(field ?? "the inputs", message, failureTypes.inputNotPrepared, lack ? ELSEWHERE_AFTER_MS : undefined);
}

/** The same failure, after which nothing is tried again. */
export function forGood(error: unknown): unknown {
  if (!(error instanceof ApplicationFailure)) return error;
  const { message, type, details, cause } = error;
  return new ApplicationFailure(message, type, true, details, cause);
}

/** Whether this machine lacks something: its disk is full, say. */
export function isLack(error: unknown): boolean {
  if (error instanceof MachineLacks) return true;
  if (!(error instanceof Error)) return false;
  return ("code" in error && LACKS.includes(String(error.code))) || isLack(error.cause);
}

/** About a file that is no sound or video that can be read. */
export async function complaintOf(file: string, wanted: string): Promise<string> {
  const kind = await kindOf(file);
  return /^(audio|video)\//.test(kind) ? `this ${kind} file cannot be read` : `this is ${kind}, not ${wanted}`;
}

/** What a file is instead of what it should be, in a person's words. */
export async function kindOf(file: string): Promise<string> {
  const type = await fileTypeFromFile(file);
  if (type !== undefined) return type.mime;
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read({ length: SNIFFED_BYTES });
    const start = buffer.subarray(0, bytesRead);
    if (bytesRead === 0) return "an empty file";
    if (/^\s*<(!doctype html|html|head|body|title)/i.test(start.toString())) return "text/html";
    return isText(start) ? "text" : "data of an unknown kind";
  } finally {
    await handle.close();
  }
}

/** @param start may end in the middle of a letter */
function isText(start: Uint8Array): boolean {
  try {
    return !new TextDecoder("utf-8", { fatal: true }).decode(start, { stream: true }).includes("\0");
  } catch {
    return false;
  }
}
