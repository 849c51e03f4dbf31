import type { FunctionCall, ModalClient } from "modal";
import { withinTime } from "../lib/timeLimit.ts";
import { ModelFailure, reasonOf } from "./modelCall.ts";

/** What the function is called with, and what it answers: docs/modal.md. */
export type LipsyncContract = "c3-render" | "musetalk-poc";

export interface ModalOptions {
  tokenId: string;
  tokenSecret: string;
  app: string;
  function: string;
  contract: LipsyncContract;
  environment: string | undefined;
  /** undefined: Modal's own. */
  serverUrl: string | undefined;
}

/** One function that is deployed on Modal. The library is loaded when it is first used. */
export interface ModalFunction {
  contract: LipsyncContract;
  /**
   * Starts a call.
   * @returns its id, by which every process can find it again
   * @throws ModelFailure
   */
  spawn(parameters: Record<string, unknown>): Promise<string>;
  /**
   * Waits for a call, for at most `waitMs`.
   * @throws ModelFailure when it failed
   */
  poll(callId: string, waitMs: number): Promise<{ done: false } | { done: true; value: unknown }>;
  /** Ends a call; one that has ended stays as it is. */
  cancel(callId: string): Promise<void>;
}

const EXCERPT = 300;
const CALL_TIMEOUT_MS = 20_000;
/** A result that comes as bytes may be large. */
const RESULT_TIMEOUT_MS = 300_000;

export function createModalFunction(options: ModalOptions): ModalFunction {
  const { app, function: name, environment } = options;
  let connecting: Promise<{ modal: Modal; client: ModalClient }> | undefined;

  async function connect() {
    const modal = await import("modal");
    return { modal, client: createClient(modal, options) };
  }

  async function using<T>(work: (client: ModalClient) => Promise<T>, timeoutMs = CALL_TIMEOUT_MS): Promise<T> {
    connecting ??= connect();
    const { modal, client } = await connecting;
    try {
      // The library's calls have no time limit of their own.
      return await withinTime(work(client), timeoutMs);
    } catch (error) {
      // What `get` throws while a call goes on looks like the function's own time limit, too.
      throw error instanceof modal.TimeoutError ? error : toFailure(modal, error);
    }
  }

  const callOf = (client: ModalClient, callId: string): Promise<FunctionCall> => client.functionCalls.fromId(callId);

  return {
    contract: options.contract,

    spawn: (parameters) =>
      using(async (client) => {
        const found = await client.functions.fromName(app, name, environment === undefined ? {} : { environment });
        return (await found.spawn([], parameters)).functionCallId;
      }),

    async poll(callId, waitMs) {
      connecting ??= connect();
      const { modal } = await connecting;
      try {
        const get = async (client: ModalClient) => await (await callOf(client, callId)).get({ timeoutMs: waitMs });
        const value: unknown = await using(get, RESULT_TIMEOUT_MS);
        return { done: true, value };
      } catch (error) {
        if (error instanceof modal.TimeoutError) return { done: false };
        throw error;
      }
    },

    cancel: (callId) => using(async (client) => await (await callOf(client, callId)).cancel()),
  };
}

type Modal = typeof import("modal");

/** The library takes the address of another server from the environment alone, and reads it here. */
function createClient(modal: Modal, { tokenId, tokenSecret, serverUrl }: ModalOptions): ModalClient {
  const before = process.env.MODAL_SERVER_URL;
  if (serverUrl !== undefined) process.env.MODAL_SERVER_URL = serverUrl;
  try {
    return new modal.ModalClient({ tokenId, tokenSecret });
  } finally {
    if (before === undefined) delete process.env.MODAL_SERVER_URL;
    else process.env.MODAL_SERVER_URL = before;
  }
}

/** gRPC's codes, as the library passes them on. */
const NOT_FOUND = 5;
const PERMISSION_DENIED = 7;
const UNAUTHENTICATED = 16;

function toFailure(modal: Modal, error: unknown): ModelFailure {
  const reason = (reasonOf(error).trim().split("\n")[0] ?? "").slice(0, EXCERPT);
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const failed = (message: string) => new ModelFailure("failed", message, { cause: error });
  if (error instanceof modal.FunctionTimeoutError) return failed("the function on Modal ran out of its own time limit");
  if (error instanceof modal.RemoteError || error instanceof modal.ExecutionError) {
    return failed(`the function on Modal failed: ${reason.replace(/^Remote error: /, "")}`);
  }
  if (error instanceof modal.NotFoundError || code === NOT_FOUND) return failed(`Modal does not know it: ${reason}`);
  if (code === UNAUTHENTICATED || code === PERMISSION_DENIED) return failed("Modal refuses the token");
  return new ModelFailure("transport", `Modal could not be reached: ${reason}`, { cause: error });
}
