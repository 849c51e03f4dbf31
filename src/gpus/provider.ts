import type { PoolState } from "./pool.ts";
import type { ProviderReport, ProviderStatus, ProviderTrouble } from "./types.ts";

/**
 * What a pool knows of the provider. It hears of it in two ways: an instance that is being launched reports each
 * call that failed, and the reconciler looks every minute whether the key is accepted and there is money. A launch
 * that succeeds ends every trouble. A look that finds nothing wrong ends what a look can judge; but not while
 * an instance is being launched, whose next try will tell, nor what only launches suffer from while jobs wait.
 */
export interface KnownTrouble extends ProviderStatus {
  /** Epoch milliseconds at which it was last met. */
  at: number;
}

/** A provider that refuses is tried again by a launch after so long, should no look say that it is well. */
const REFUSED_MS = 300_000;

/** For everybody: nothing of what the provider said. */
export const providerSentences: Record<ProviderTrouble["state"], string> = {
  refused: "the GPU provider refuses the key (C3_API_KEY)",
  no_balance: "the account at the GPU provider has no balance left",
  unreachable: "the GPU provider cannot be reached",
  failing: "the GPU provider launches no instance",
};

/** Trying again does not help before somebody has changed something. */
export function isLasting({ state }: ProviderTrouble): boolean {
  return state === "refused" || state === "no_balance";
}

/** A call of a launch failed, or the reconciler has looked. */
export function noticeProvider(pool: PoolState, { at, trouble }: ProviderReport): void {
  const known = pool.provider;
  if (known !== undefined && known.at > at) return;
  if (trouble === undefined) noticeWell(pool);
  else pool.provider = { ...trouble, since: known?.state === trouble.state ? known.since : at, at };
}

function noticeWell(pool: PoolState): void {
  const { provider, gpus, queue, launchFailures } = pool;
  if (provider === undefined || gpus.some(({ state }) => state === "launching")) return;
  const lasting = isLasting(provider);
  if (!lasting && launchFailures !== undefined && queue.length > 0) return;
  delete pool.provider;
  // What was refused for the key's sake need not wait for its turn.
  if (lasting) delete pool.launchFailures;
}

/** Epoch milliseconds before which nothing is launched because the provider refuses. */
export function refusedUntil({ provider }: PoolState): number {
  return provider !== undefined && isLasting(provider) ? provider.at + REFUSED_MS : 0;
}
