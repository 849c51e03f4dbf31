import { randomBytes, randomUUID } from "node:crypto";

/** Why an instance ended; `vanished` and `killed` are faults. */
export type EndReason = "stopped" | "expired" | "vanished";

/** An instance, for ever: what it was, how it ended and what it cost. Times are Unix seconds. */
export interface Instance {
  workload: string;
  node: string;
  type: string;
  created: number;
  expires: number;
  ended?: number;
  why?: EndReason;
  billedSeconds: number;
  refundAmount: number;
  /** Does not answer, but is listed as running. */
  killed: boolean;
}

interface Entry extends Instance {
  workloadKey: string;
  bootsAtMs: number;
  /** Called when the node goes down, whatever the reason. */
  onDown: (() => void)[];
}

export interface WorldOptions {
  /** From launch to the first answer of the node. */
  launchSeconds: number;
  ratePerHour: number;
}

export type World = ReturnType<typeof createWorld>;

const types = ["media:fast", "media:large", "ollama_webui:fast", "ollama_webui:coder", "ollama_webui:large"];
/** So much that no test runs out of it by accident. */
const OPENING_BALANCE = 1_000_000;

/** Comput3's side of the simulation: which instances there are, and the money. */
export function createWorld({ launchSeconds, ratePerHour }: WorldOptions) {
  const entries: Entry[] = [];
  let balance = OPENING_BALANCE;
  const price = (seconds: number) => (seconds * ratePerHour) / 3600;
  const nowSeconds = () => Math.floor(Date.now() / 1000);

  function end(entry: Entry, why: EndReason, at: number): void {
    if (entry.ended !== undefined) return;
    entry.ended = Math.min(at, entry.expires);
    entry.why = why;
    entry.billedSeconds = entry.ended - entry.created;
    // The whole lifetime was paid at launch.
    entry.refundAmount = why === "stopped" ? price(entry.expires - entry.ended) : 0;
    balance += entry.refundAmount;
    for (const down of entry.onDown) down();
  }

  function expire(): void {
    for (const entry of entries) if (nowSeconds() >= entry.expires) end(entry, "expired", entry.expires);
  }

  const byNode = (node: string) => entries.find((entry) => entry.node === node);

  return {
    types,

    launch(type: string, expires: number): { node: string; workload: string; workload_key: string } {
      const created = nowSeconds();
      const entry: Entry = {
        workload: randomUUID(),
        node: `sim-${randomBytes(4).toString("hex")}`,
        type,
        created,
        expires,
        billedSeconds: 0,
        refundAmount: 0,
        killed: false,
        workloadKey: randomBytes(12).toString("hex"),
        bootsAtMs: Date.now() + launchSeconds * 1000,
        onDown: [],
      };
      entries.push(entry);
      balance -= price(expires - created);
      return { node: entry.node, workload: entry.workload, workload_key: entry.workloadKey };
    },

    /** What `/workloads` lists. */
    running() {
      expire();
      return entries
        .filter((entry) => entry.ended === undefined)
        .map(({ workload, node, type, created, expires }) => {
          return { workload, node, type, created, expires, running: true, status: "running" };
        });
    },

    /** Undefined when there is no such instance that runs. */
    stop(workload: string): { stopped: number; refund_amount: number } | undefined {
      expire();
      const entry = entries.find((candidate) => candidate.workload === workload);
      if (entry === undefined || entry.ended !== undefined) return undefined;
      end(entry, "stopped", nowSeconds());
      return { stopped: nowSeconds(), refund_amount: entry.refundAmount };
    },

    balance: () => balance,

    /** As somebody pays in, or takes out. */
    setBalance(amount: number): void {
      balance = amount;
    },

    /** Whether the node answers: it has booted, was not killed and has not ended. */
    nodeState(node: string): "up" | "booting" | "killed" | "absent" {
      expire();
      const entry = byNode(node);
      if (entry === undefined || entry.ended !== undefined) return "absent";
      if (entry.killed) return "killed";
      return Date.now() < entry.bootsAtMs ? "booting" : "up";
    },

    typeOf: (node: string) => byNode(node)?.type,

    whenDown(node: string, down: () => void): void {
      byNode(node)?.onDown.push(down);
    },

    kill(node: string): void {
      const entry = byNode(node);
      if (entry === undefined) return;
      entry.killed = true;
      for (const down of entry.onDown) down();
    },

    vanish(node: string): void {
      const entry = byNode(node);
      if (entry !== undefined) end(entry, "vanished", nowSeconds());
    },

    /** Every instance there ever was. */
    instances(): Instance[] {
      expire();
      return entries.map(({ workloadKey: _key, bootsAtMs: _boots, onDown: _down, ...instance }) => ({
        ...instance,
        billedSeconds: (instance.ended ?? nowSeconds()) - instance.created,
      }));
    },

    shutDown(): void {
      for (const entry of entries) for (const down of entry.onDown) down();
    },
  };
}
