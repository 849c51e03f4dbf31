import { z } from "zod";
import { time } from "./common.ts";

export const runningSchema = z.object({ status: z.literal("C3 Render API is running"), timestamp: time });

export const okSchema = z.object({ status: z.literal("ok") });

/** This document; that it is OpenAPI is another standard's business. */
export const documentSchema = z.looseObject({ openapi: z.string() });
