import { sleep } from "@temporalio/workflow";
import * as present from "../../src/workflows/index.ts";

export * from "../../src/workflows/index.ts";

/** A timer more than in any history. */
export async function renderJob(...args: Parameters<typeof present.renderJob>) {
  await sleep(1);
  return await present.renderJob(...args);
}
