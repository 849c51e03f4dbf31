import { z } from "zod";
import { providerStates } from "../../../gpus/types.ts";
import { time } from "./common.ts";

export const runningSchema = z.object({ status: z.literal("C3 Render API is running"), timestamp: time });

export const okSchema = z.object({ status: z.literal("ok") });

export const readySchema = z.object({
  status: z.literal("ok"),
  provider: z
    .object({ state: z.enum(providerStates), message: z.string(), since: time })
    .optional()
    .describe("Why no GPU can be rented; absent while nothing is known against it"),
});

/** This document; that it is OpenAPI is another standard's business. */
export const documentSchema = z.looseObject({ openapi: z.string() });
