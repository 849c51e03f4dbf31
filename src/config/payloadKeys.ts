import { createSecretKey, type KeyObject } from "node:crypto";
import { z } from "zod";

/** One key of AES-256; its id goes with everything that it encrypts. */
export interface PayloadKey {
  id: string;
  secret: KeyObject;
}

/** An id, and 32 bytes in base64. */
const entryPattern = /^([\w.-]{1,64}):([A-Za-z0-9+/]{43}=)$/;

/** `id:key,id2:key2`; a key object, unlike a string, does not show itself in a log. */
export const payloadKeysSchema = z.string().transform((text, context): PayloadKey[] => {
  const entries = text.split(",").map((entry) => entry.trim());
  const keys = new Map<string, PayloadKey>();
  for (const entry of entries) {
    const [, id, base64] = entryPattern.exec(entry) ?? [];
    if (id !== undefined && base64 !== undefined) keys.set(id, { id, secret: createSecretKey(base64, "base64") });
  }
  if (keys.size === entries.length) return [...keys.values()];
  const message = "must be like id:key,id2:key2, with different ids, and keys of 32 bytes in base64";
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});
