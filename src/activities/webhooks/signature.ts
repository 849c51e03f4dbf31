import { Webhook } from "standardwebhooks";
import { webhookSecretsOf } from "../../config/apiKeys.ts";
import type { Config } from "../../config/index.ts";

/** What signs the webhooks of a tenant: the secrets of its keys, or everybody's. */
export function secretsFor({ api, webhook }: Pick<Config, "api" | "webhook">, tenant: string): readonly string[] {
  const own = webhookSecretsOf(api.keys, tenant);
  return own.length > 0 ? own : webhook.secrets;
}

/**
 * The headers of https://www.standardwebhooks.com: the same id on every attempt, so that a receiver can drop
 * repeats, and a signature by each secret, any of which it may check.
 */
export function signatureHeaders(
  secrets: readonly string[],
  jobId: string,
  at: Date,
  body: string,
): Record<string, string> {
  const id = `msg_${jobId}`;
  const headers = { "webhook-id": id, "webhook-timestamp": String(Math.floor(at.getTime() / 1000)) };
  if (secrets.length === 0) return headers;
  const signatures = secrets.map((secret) => new Webhook(keyOf(secret)).sign(id, at, body));
  return { ...headers, "webhook-signature": signatures.join(" ") };
}

/** A secret that is not in the form of the standard is taken as it is. */
function keyOf(secret: string): string {
  return secret.startsWith("whsec_") ? secret : Buffer.from(secret).toString("base64");
}
