import { createHash } from "node:crypto";
import { z } from "zod";

/** A named key of the keys file. The key itself is not kept. */
export interface ApiKey {
  /** The tenant; two keys may have one name, so that one can replace the other. */
  name: string;
  /** Of the key, in hexadecimal. */
  sha256: string;
  role: "user" | "admin";
  /** The tenant's share of the GPUs, in relation to that of others; 1 when undefined. */
  weight: number | undefined;
  /** Submissions per minute; the common limit when undefined. */
  rate: number | undefined;
  /** Webhooks of the tenant's jobs are signed with each of them. */
  webhookSecrets: string[];
}

const MIN_KEY_CHARS = 16;

/** A shorter key could be guessed. */
export const apiKeySchema = z
  .string()
  .min(MIN_KEY_CHARS, `must have ${MIN_KEY_CHARS} characters or more; \`openssl rand -hex 32\` makes one`);

const secret = z.string().min(1);
const entrySchema = z
  .strictObject({
    name: z.string().regex(/^[\w.@-]{1,64}$/, "must be 1 to 64 letters, digits, or . _ @ -"),
    key: apiKeySchema.regex(/^\S+$/, "must not have spaces").optional(),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/i, "must be 64 hexadecimal digits")
      .optional(),
    role: z.enum(["user", "admin"]).default("user"),
    weight: z.number().positive().optional(),
    rate: z.int().positive().optional(),
    webhook_secret: z.union([secret, z.array(secret)], "must be a string, or a list of strings").default([]),
  })
  .refine(({ key, sha256 }) => (key === undefined) !== (sha256 === undefined), "needs key or sha256, and not both")
  .transform(
    ({ key, sha256 = sha256Of(key ?? ""), webhook_secret: secrets, name, role, weight, rate }): ApiKey => ({
      name,
      sha256: sha256.toLowerCase(),
      role,
      weight,
      rate,
      webhookSecrets: [secrets].flat(),
    }),
  );

/** The JSON of a keys file. What it finds wrong never quotes what it read. */
export const apiKeysSchema = z
  .string()
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: "custom", message: 'must be JSON like [{"name": "studio", "key": "…"}]' });
      return z.NEVER;
    }
  })
  .pipe(z.array(entrySchema))
  .superRefine((keys, context) => {
    for (const [index, { sha256 }] of keys.entries()) {
      const first = keys.findIndex((key) => key.sha256 === sha256);
      if (first < index) context.addIssue({ code: "custom", path: [index], message: `has the key of entry ${first}` });
    }
  });

/** The SHA-256 of an API key, in hexadecimal. */
export function sha256Of(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** What the webhooks of a tenant are signed with, of all its keys; none when its keys name no secret. */
export function webhookSecretsOf(keys: readonly ApiKey[], tenant: string): string[] {
  return [...new Set(keys.filter(({ name }) => name === tenant).flatMap(({ webhookSecrets }) => webhookSecrets))];
}
