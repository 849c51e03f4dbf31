import { z } from "zod";
import { versionStatuses } from "../../service/versions.ts";
import { time } from "./common.ts";

export const versionStatus = z
  .enum(versionStatuses)
  .describe("Draining: workflows that began on it still run there. Drained: none does, and its workers may be stopped");

export const versionSchema = z.object({
  id: z.string().describe("The package's version, and a hash of its workflows"),
  status: versionStatus,
  current_at: time.optional().describe("When it became current, or, of one that no longer is, when it was so last"),
});

export const versionsSchema = z.object({
  current: z
    .string()
    .nullable()
    .describe("What new jobs begin on; null: workers need no version, and those that have one get nothing"),
  versions: z.array(versionSchema),
});
