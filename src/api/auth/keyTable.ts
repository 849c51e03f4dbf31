import { createHmac, randomBytes } from "node:crypto";
import { sha256Of } from "../../config/apiKeys.ts";
import type { ApiConfig } from "../../config/index.ts";
import type { Caller } from "../context.ts";

/** The tenant of the single key, and of everybody where no key is needed. */
export const DEFAULT_TENANT = "default";

/**
 * Whose key it is, for every configured key.
 *
 * Keys are found by a digest that is keyed with a secret of this process. It has one length, nobody outside can
 * compute it, and guesses that are alike have digests that are not: the time of a search tells nothing of how
 * near a guess was, and does not grow with the number of keys.
 */
export function createKeyTable({
  key,
  keys,
}: Pick<ApiConfig, "key" | "keys">): (offered: string) => Caller | undefined {
  const secret = randomBytes(32);
  const blinded = (sha256: string) => createHmac("sha256", secret).update(sha256).digest("base64");
  const callers = new Map<string, Caller>();
  for (const { sha256, name: tenant, role, weight, rate } of keys) {
    callers.set(blinded(sha256), {
      tenant,
      admin: role === "admin",
      ...(weight !== undefined && { weight }),
      ...(rate !== undefined && { rate }),
    });
  }
  if (key !== undefined) callers.set(blinded(sha256Of(key)), { tenant: DEFAULT_TENANT, admin: true });
  return (offered) => callers.get(blinded(sha256Of(offered)));
}
