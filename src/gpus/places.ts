import type { QueuedJob } from "./pool.ts";
import type { LeaseRequest } from "./types.ts";

/**
 * More jobs are not put in order at one time, so that a pool's state stays below the 2 MB that Temporal takes. One beyond
 * them waits all the same, and a census brings it when others have left.
 *
 * The places are shared out between tenants before anything else: a tenant's first job comes before anybody's second
 * one, and so on. Whatever one tenant submits, another one with few jobs is in the order.
 */
export const MAX_WAITING = 5000;

/** Who leaves a full queue for a job: the latest one of the tenant with the most; undefined when the job is no better. */
export function displacedBy({ tenant }: LeaseRequest, queue: readonly QueuedJob[]): QueuedJob | undefined {
  const places = placesOf(queue);
  const [largest, most] = [...places].reduce((a, b) => (b[1] > a[1] ? b : a));
  if ((places.get(tenant) ?? 0) + 1 >= most) return undefined;
  const theirs = queue.filter((job) => job.tenant === largest);
  return theirs.reduce((latest, job) => (job.queuedAt >= latest.queuedAt ? job : latest));
}

/**
 * Of jobs that the pool does not know, those that are to have a place in it.
 * @param places how many each tenant has already
 * @param missing the earliest first
 */
export function shareOut<T extends Pick<LeaseRequest, "tenant">>(
  places: ReadonlyMap<string, number>,
  missing: readonly T[],
): T[] {
  const taken = new Map(places);
  const known = [...places.values()].flatMap((count) => Array.from({ length: count }, (_, rank) => ({ rank })));
  const others = missing.map((job) => {
    const rank = taken.get(job.tenant) ?? 0;
    taken.set(job.tenant, rank + 1);
    return { rank, job };
  });
  const all: { rank: number; job?: T }[] = [...known, ...others];
  const inOrder = all.sort((a, b) => a.rank - b.rank);
  return inOrder.slice(0, MAX_WAITING).flatMap(({ job }) => job ?? []);
}

/** How many jobs each tenant has. */
export function placesOf(jobs: readonly Pick<LeaseRequest, "tenant">[]): Map<string, number> {
  const places = new Map<string, number>();
  for (const { tenant } of jobs) places.set(tenant, (places.get(tenant) ?? 0) + 1);
  return places;
}
