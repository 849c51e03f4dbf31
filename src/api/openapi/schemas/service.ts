import { z } from "zod";
import { time } from "./common.ts";
import { providerState } from "./gpus.ts";

export const runningSchema = z.object({ status: z.literal("C3 Render API is running"), timestamp: time });

export const okSchema = z.object({ status: z.literal("ok") });

export const providerSchema = z
  .object({ state: providerState, message: z.string(), since: time })
  .describe("Why no GPU can be rented; absent while nothing is known against it");

export const readySchema = z.object({ status: z.literal("ok"), provider: providerSchema.optional() });

/** This document; that it is OpenAPI is another standard's business. */
export const documentSchema = z.looseObject({ openapi: z.string() });
