import { condition, upsertMemo } from "@temporalio/workflow";

/** What a later version makes of it. */
export async function changed(): Promise<void> {
  upsertMemo({ changed: true });
  await condition(() => false);
}
