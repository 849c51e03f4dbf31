import { z } from "zod";
import { jobId, time } from "./common.ts";

export const deliverySchema = z.object({
  time,
  delivered: z.boolean(),
  code: z.int().optional().describe("The status that the receiver answered with"),
  ms: z.number(),
  location: z
    .string()
    .optional()
    .describe("Where the receiver's redirect leads that was not followed, without its query"),
  error: z.string().optional().describe("Why there was no answer, or why it does not count"),
});

export const deliveriesSchema = z.object({
  id: jobId,
  url: z.string().optional().describe("Where it goes, without its query; absent before the first attempt"),
  deliveries: z.array(deliverySchema),
});

export const redeliveredSchema = z.object({ message: z.string() });

export const replayedSchema = z.object({ count: z.int().describe("How many are sent again") });
