import { log } from "@temporalio/activity";
import { WorkflowNotFoundError } from "@temporalio/client";
import { Comput3Error } from "../../clients/comput3.ts";
import { ids } from "../../contracts/names.ts";
import { providerReport } from "../../contracts/signals.ts";
import type { ProviderReport, ProviderTrouble } from "../../gpus/types.ts";
import type { ActivityDeps } from "../support/deps.ts";

export type Provider = ReturnType<typeof createProvider>;

/** What an error says against the provider; undefined when it is about something else. */
export function troubleOf(error: unknown): ProviderTrouble | undefined {
  return error instanceof Comput3Error ? { state: error.kind, reason: error.message } : undefined;
}

/** How the provider is, as this process finds it, and who is told. */
export function createProvider({
  client,
  comput3,
  config,
  metrics,
}: Pick<ActivityDeps, "client" | "comput3" | "config" | "metrics">) {
  const isRented = config.gpu.provider !== "static";
  let last: { at: number; trouble: ProviderTrouble | undefined } | undefined;
  let asking: Promise<ProviderTrouble | undefined> | undefined;

  async function ask(): Promise<ProviderTrouble | undefined> {
    try {
      const trouble = await troubleWithBalance(comput3);
      last = { at: performance.now(), trouble };
      metrics.providerSeen(trouble?.state);
      return trouble;
    } finally {
      asking = undefined;
    }
  }

  return {
    /**
     * Whether the key is accepted and there is money: one call of the provider, however many ask at one time.
     * @param keptForMs an answer that is no older will do
     * @returns what is wrong; undefined where nothing is rented
     */
    async check(keptForMs = 0): Promise<ProviderTrouble | undefined> {
      if (!isRented) return undefined;
      if (last !== undefined && performance.now() - last.at < keptForMs) return last.trouble;
      asking ??= ask();
      return await asking;
    },

    /** The manager tells the pool. */
    launched(): void {
      if (isRented) metrics.providerSeen(undefined);
    },

    /** A call of a launch failed, or the reconciler has looked: the pool of that type hears of it at once. */
    async report(type: string, found: ProviderReport): Promise<void> {
      metrics.providerSeen(found.trouble?.state);
      try {
        await client.workflow.getHandle(ids.pool(type)).signal(providerReport, found);
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return;
        // The next failed try says it again, and so does the reconciler.
        log.warn("the pool could not be told how the provider is", { type, error: String(error) });
      }
    },
  };
}

/** An API that knows no balance has accepted the key all the same. */
async function troubleWithBalance({ balance }: ActivityDeps["comput3"]): Promise<ProviderTrouble | undefined> {
  try {
    const left = await balance();
    return left > 0 ? undefined : { state: "no_balance", reason: `Comput3 /balance answered ${left}` };
  } catch (error) {
    const trouble = troubleOf(error);
    if (trouble === undefined) throw error;
    return trouble.state === "failing" ? undefined : trouble;
  }
}
