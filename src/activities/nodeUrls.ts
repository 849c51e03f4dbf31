import type { Config } from "../config.ts";
import type { Lease } from "../gpus/types.ts";

/** Where a node's ComfyUI is; without a trailing slash. */
export function comfyUrlOf({ comput3 }: Pick<Config, "comput3">, { node }: Pick<Lease, "node">): string {
  return comput3.comfyuiUrlTemplate.replace("{node}", node);
}
