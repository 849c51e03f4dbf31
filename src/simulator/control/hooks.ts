/** One delivery of a webhook as it arrived. */
export interface Delivery {
  /** Epoch milliseconds. */
  at: number;
  headers: Record<string, string>;
  body: string;
  status: 200 | 503;
}

export type Hooks = ReturnType<typeof createHooks>;

/** A webhook receiver with a journal, one per name. */
export function createHooks() {
  const journals = new Map<string, Delivery[]>();
  return {
    /** The first `failures` deliveries are refused. */
    receive(
      name: string,
      headers: Record<string, string>,
      body: string,
      { failures }: { failures: number },
    ): 200 | 503 {
      const journal = journals.get(name) ?? [];
      journals.set(name, journal);
      const status = journal.length < failures ? 503 : 200;
      journal.push({ at: Date.now(), headers, body, status });
      return status;
    },
    received: (name: string): Delivery[] => journals.get(name) ?? [],
  };
}
