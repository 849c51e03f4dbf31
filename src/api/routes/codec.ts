import type { Payload } from "@temporalio/common";
import { Hono } from "hono";
import { z } from "zod";
import { createPayloadCodec } from "../../temporal/payloadCodec.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { readBody } from "../http/body.ts";
import { adminOnly } from "../middleware/adminOnly.ts";

/** The payloads of one event; Temporal itself takes at most 2 MB each, and base64 adds a third. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/** Payloads in the JSON form of protocol buffers, where bytes are base64 and what is empty may be missing. */
export const payloadsSchema = z.object({
  payloads: z.array(
    z.object({ metadata: z.record(z.string(), z.base64()).nullish(), data: z.base64().nullish() }).transform(fromJson),
  ),
});

/**
 * Temporal's remote codec: decrypts for the Web UI and the CLI what workflows left in Temporal. What cannot be
 * decrypted comes back as a sentence that says why, because the Web UI asks for many payloads at once.
 */
export function codecRoutes({ config: { api, temporal } }: Pick<ApiDeps, "config">) {
  const limits = { maxBodyBytes: MAX_BODY_BYTES, bodyTimeoutMs: api.bodyTimeoutMs };
  const codec = createPayloadCodec(temporal.payloadKeys, "mark");
  return new Hono<ApiEnv>()
    .use("/codec/*", adminOnly)
    .post("/codec/decode", async (c) => {
      const { payloads } = await readBody(c, payloadsSchema, limits);
      return c.json({ payloads: (await codec.decode(payloads)).map(toJson) });
    })
    .post("/codec/encode", async (c) => {
      const { payloads } = await readBody(c, payloadsSchema, limits);
      return c.json({ payloads: (await codec.encode(payloads)).map(toJson) });
    });
}

interface PayloadJson {
  metadata?: Record<string, string> | null | undefined;
  data?: string | null | undefined;
}

function fromJson({ metadata, data }: PayloadJson): Payload {
  const entries = Object.entries(metadata ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64")] as const);
  return { metadata: Object.fromEntries(entries), data: Buffer.from(data ?? "", "base64") };
}

function toJson({ metadata, data }: Payload): PayloadJson {
  const entries = Object.entries(metadata ?? {}).map(([key, value]) => [key, base64Of(value)] as const);
  return { metadata: Object.fromEntries(entries), data: base64Of(data ?? new Uint8Array()) };
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
