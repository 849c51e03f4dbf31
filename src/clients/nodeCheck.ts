import { watchLoop } from "../process/loopTime.ts";

/** Whether a node answers, and if it does not, what speaks for and against its being to blame. */
export type NodeCheck =
  | { up: true }
  | {
      up: false;
      problem: string;
      /** It answered something else than 200: the way to it is open. */
      answered: boolean;
      /** Its host took or refused the connection: at least that far, the way is open. */
      reached: boolean;
      /** What this machine lacked for a connection at all. */
      lack: "resources" | "network" | undefined;
      /** For how long, in all, this process could not have heard an answer. */
      lateMs: number;
    };

const TIMEOUT_MS = 5000;
/** Nothing was sent: there are no files, ports or memory left here. */
const noResources = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"]);
/** Nothing came through: the machine's own network or name server, or one on the way. */
const noNetwork = new Set(["EAI_AGAIN", "ENETUNREACH", "ENETDOWN", "EHOSTUNREACH", "EHOSTDOWN"]);
const metSomebody = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET"]);

/** Asks a node whether it is up: 200 within five seconds, of the time in which this process could hear it. */
export async function checkNode(nodeUrl: string, apiKey: string, signal?: AbortSignal): Promise<NodeCheck> {
  const loop = watchLoop(TIMEOUT_MS, signal);
  try {
    const response = await fetch(`${nodeUrl}/`, {
      headers: { "X-C3-API-KEY": apiKey },
      redirect: "manual",
      signal: loop.signal,
    });
    if (response.status === 200) {
      await response.body?.cancel();
      return { up: true };
    }
    await response.body?.cancel();
    const problem = `it answered ${response.status}`;
    return { up: false, problem, answered: true, reached: true, lack: undefined, lateMs: loop.lateMs() };
  } catch (error) {
    signal?.throwIfAborted();
    const codes = codesOf(error);
    const some = (known: ReadonlySet<string>) => codes.some((code) => known.has(code));
    return {
      up: false,
      problem: problemOf(error),
      answered: false,
      reached: some(metSomebody),
      lack: some(noResources) ? "resources" : some(noNetwork) ? "network" : undefined,
      lateMs: loop.lateMs(),
    };
  } finally {
    loop.end();
  }
}

/** Of an error and all that caused it: a host with several addresses fails with one error for each. */
function codesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const code = "code" in error && typeof error.code === "string" ? [error.code] : [];
  const each = error instanceof AggregateError ? error.errors.flatMap(codesOf) : [];
  return [...code, ...each, ...codesOf(error.cause)];
}

/** The deepest cause says most. */
export function problemOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause instanceof Error) return problemOf(error.cause);
  const [first] = error instanceof AggregateError ? error.errors : [];
  return first === undefined ? error.message : problemOf(first);
}
