import type { Client } from "@temporalio/client";
import type { SignalDefinition } from "@temporalio/common";
import { decodeArrayFromPayloads } from "@temporalio/common/lib/internal-non-workflow/index.js";

/** A workflow that nobody works on: whatever is sent to it stays readable in its history. */
export interface Mailbox {
  /** The argument of each signal of that name, in their order. */
  received<Args extends [unknown?]>(signal: SignalDefinition<Args>): Promise<Args[0][]>;
  close(): Promise<void>;
}

/** Opens a mailbox in the place of the workflow of that id. */
export async function openMailbox(client: Client, workflowId: string): Promise<Mailbox> {
  const handle = await client.workflow.start("mailbox", { workflowId, taskQueue: "nobody works on it" });
  return {
    async received<Args extends [unknown?]>({ name }: SignalDefinition<Args>) {
      const { events } = await handle.fetchHistory();
      const signals = (events ?? []).flatMap(({ workflowExecutionSignaledEventAttributes: signal }) =>
        signal?.signalName === name ? [signal.input?.payloads] : [],
      );
      const { loadedDataConverter: converter } = client.options;
      const received = await Promise.all(signals.map((payloads) => decodeArrayFromPayloads(converter, payloads)));
      return received.map(([argument]) => argument as Args[0]);
    },
    async close() {
      await handle.terminate("the test is over");
    },
  };
}
