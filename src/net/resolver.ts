import type { LookupAddress } from "node:dns";
import { NODATA, NOTFOUND, Resolver } from "node:dns/promises";
import { TooLate, withinTime } from "../lib/timeLimit.ts";

/**
 * Looks names up that came from outside, at the system's name servers, with a resolver that needs no thread: the system's own
 * (`getaddrinfo`) takes one of the four that all files need, too, for as long as a slow name server likes. It knows nothing of
 * /etc/hosts; what stands there is not public.
 */
export interface NameResolver {
  /**
   * @returns all addresses, of both kinds
   * @throws NameNotFound; an error when the name servers do not say
   */
  resolve(name: string): Promise<LookupAddress[]>;
}

/** There is no such name, or it has no address. */
export class NameNotFound extends Error {
  override name = "NameNotFound";
  readonly code = "ENOTFOUND";
}

export interface ResolverOptions {
  /** Instead of the system's: addresses with ports. */
  servers?: string[];
}

const TRY_MS = 2000;
const TRIES = 2;
/** The connection asks for a name again that was looked up before it; and of many who want one at a time, one asks. */
const KEPT_MS = 5000;
const MANY_NAMES = 1000;
const nothing = new Set<unknown>([NOTFOUND, NODATA]);

export function createNameResolver({ servers }: ResolverOptions = {}): NameResolver {
  const resolver = new Resolver({ timeout: TRY_MS, tries: TRIES });
  if (servers !== undefined) resolver.setServers(servers);
  const answers = new Map<string, { until: number; answer: Promise<LookupAddress[]> }>();

  async function ask(name: string): Promise<LookupAddress[]> {
    const [four, six] = await withinTime(
      Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]),
      TRIES * TRY_MS,
    ).catch((error: unknown) => {
      throw error instanceof TooLate ? new Error("the name servers do not answer", { cause: error }) : error;
    });
    const found = [
      ...(four.status === "fulfilled" ? four.value.map((address) => ({ address, family: 4 })) : []),
      ...(six.status === "fulfilled" ? six.value.map((address) => ({ address, family: 6 })) : []),
    ];
    if (found.length > 0) return found;
    const reasons = [four, six].flatMap((asked) => (asked.status === "rejected" ? [asked.reason as Error] : []));
    const trouble = reasons.find((reason) => !("code" in reason && nothing.has(reason.code)));
    if (trouble === undefined) throw new NameNotFound("the name was not found");
    throw new Error("the name servers do not answer", { cause: trouble });
  }

  return {
    resolve(name) {
      const now = performance.now();
      const kept = answers.get(name);
      if (kept !== undefined && now < kept.until) return kept.answer;
      if (answers.size > MANY_NAMES) for (const [key, { until }] of answers) if (until <= now) answers.delete(key);
      const answer = ask(name);
      answers.set(name, { until: now + KEPT_MS, answer });
      answer.catch(() => answers.delete(name));
      return answer;
    },
  };
}
