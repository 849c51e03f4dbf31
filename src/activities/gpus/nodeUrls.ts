import type { Config } from "../../config/index.ts";

type Hosts = Pick<Config, "comput3" | "gpu">;
type Named = { node: string };

// Without a trailing slash.

/** Where a node is. */
export function nodeUrlOf({ comput3, gpu }: Hosts, { node }: Named): string {
  return gpu.nodes.find(({ name }) => name === node)?.url ?? comput3.nodeUrlTemplate.replace("{node}", node);
}

/** Where a node's ComfyUI is. */
export function comfyUrlOf({ comput3, gpu }: Hosts, { node }: Named): string {
  const own = gpu.nodes.find(({ name }) => name === node);
  return own?.comfyuiUrl ?? own?.url ?? comput3.comfyuiUrlTemplate.replace("{node}", node);
}
