import type { Config } from "../../config/index.ts";
import type { InstanceSource } from "./instanceProvider.ts";

/** Nodes that one runs oneself: never launched, never stopped, and free of charge. */
export function createOwnNodes({ gpu }: Config): InstanceSource {
  return {
    async launch({ type, node }) {
      const known = gpu.nodes.find(({ name }) => name === node);
      if (known === undefined || known.type !== type) throw new Error(`there is no node ${node} of type ${type}`);
      return { workload: known.name, node: known.name, created: Math.floor(Date.now() / 1000) };
    },
    isThere: async ({ workload }) => gpu.nodes.some(({ name }) => name === workload),
    end: async () => undefined,
  };
}
