import { isLasting, providerSentences } from "../gpus/provider.ts";
import type { ProviderTrouble } from "../gpus/types.ts";
import type { Logger } from "../process/log.ts";

/** What somebody at a terminal should know who starts the service: a sentence, and what becomes of jobs. */
export function providerNotice(trouble: ProviderTrouble): string {
  const remedies = {
    refused: "Jobs wait until it is accepted. Set C3_API_KEY to the right key, or have this one accepted again.",
    no_balance: "Jobs wait until somebody has paid.",
    unreachable: "Jobs wait until it can be.",
    failing: "Jobs wait until it does.",
  } satisfies Record<ProviderTrouble["state"], string>;
  const sentence = providerSentences[trouble.state];
  return `${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}: ${trouble.reason}. ${remedies[trouble.state]}`;
}

/** Logs what was found at the start: an error if somebody must do something, else a warning. */
export async function logProvider(found: Promise<ProviderTrouble | undefined>, log: Logger): Promise<void> {
  try {
    const trouble = await found;
    if (trouble === undefined) return;
    const level = isLasting(trouble) ? "error" : "warn";
    log[level]({ state: trouble.state, reason: trouble.reason }, providerNotice(trouble));
  } catch (error) {
    log.warn({ err: error }, "it could not be found out how the GPU provider is");
  }
}
