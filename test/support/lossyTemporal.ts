import { InterceptingCall, type Interceptor, status } from "@grpc/grpc-js";
import { Client, Connection } from "@temporalio/client";

/** A client whose calls reach the server, and whose answers may get lost. */
export interface LossyClient {
  client: Client;
  /** Loses the next answers to calls of that method, such as `SignalWorkflowExecution`; `code` is had instead. */
  lose(method: string, answers?: number, code?: status): void;
  /** Answers that were not lost yet are had again. */
  loseNothing(): void;
  /** How many calls of a method were made. */
  calls(method: string): number;
}

export async function connectLossyClient(address: string, namespace: string): Promise<LossyClient> {
  const toLose = new Map<string, { left: number; code: status }>();
  const made = new Map<string, number>();

  const interceptor: Interceptor = (options, nextCall) => {
    const method = options.method_definition.path.split("/").at(-1) ?? "";
    made.set(method, (made.get(method) ?? 0) + 1);
    const { left, code } = toLose.get(method) ?? { left: 0, code: status.OK };
    if (left === 0) return new InterceptingCall(nextCall(options));
    toLose.set(method, { left: left - 1, code });
    return new InterceptingCall(nextCall(options), {
      start(metadata, _listener, next) {
        next(metadata, {
          onReceiveMessage: (_message, pass) => pass(null),
          onReceiveStatus: (received, pass) => pass({ ...received, code, details: "the answer was lost" }),
        });
      },
    });
  };

  const connection = await Connection.connect({ address, interceptors: [interceptor] });
  return {
    client: new Client({ connection, namespace }),
    lose: (method, left = 1, code = status.DEADLINE_EXCEEDED) => void toLose.set(method, { left, code }),
    loseNothing: () => toLose.clear(),
    calls: (method) => made.get(method) ?? 0,
  };
}
