import { sleep } from "@temporalio/workflow";

export async function mistaken(): Promise<void> {
  await sleep(1);
  throw new TypeError("a mistake of ours");
}

export async function changed(): Promise<void> {
  await sleep("1h");
}
