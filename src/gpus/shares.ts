/**
 * Fairness between tenants: how many GPU seconds, divided by its weight, each was served more than the waiting
 * tenant that was served least. Who is not listed leads by nothing. With nobody waiting there is nothing to be
 * fair about, and all is forgotten: a tenant does not pay for having used GPUs that nobody else wanted.
 */
export type Shares = { tenant: string; lead: number }[];

export const MAX_TENANTS = 500;

/**
 * @param seconds may be negative, to correct an earlier charge
 * @param waiting the tenants of the queue
 */
export function charge(shares: Shares, tenant: string, seconds: number, waiting: ReadonlySet<string>): Shares {
  if (waiting.size === 0) return [];
  const leads = leadsOf(shares);
  leads.set(tenant, (leads.get(tenant) ?? 0) + seconds);
  let least = Infinity;
  for (const one of waiting) least = Math.min(least, leads.get(one) ?? 0);
  return [...leads]
    .map(([name, lead]) => ({ tenant: name, lead: Math.round((lead - least) * 1000) / 1000 }))
    .filter(({ lead }) => lead > 0)
    .sort((a, b) => b.lead - a.lead)
    .slice(0, MAX_TENANTS);
}

export function leadsOf(shares: Shares): Map<string, number> {
  return new Map(shares.map(({ tenant, lead }) => [tenant, lead]));
}
