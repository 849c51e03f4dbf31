import { finalStates } from "../src/jobs/states.ts";
import type { Instance } from "../src/simulator/control/world.ts";
import type { ChaosFacts, JobFact, RenderFact } from "./chaosFacts.ts";

/** How a workflow ends whose job ended like this. */
const statusOfState: Record<string, string> = {
  success: "COMPLETED",
  failed: "FAILED",
  timed_out: "FAILED",
  cancelled: "CANCELLED",
};

/** The ledger and the provider count whole seconds at their own moments. */
const ROUNDING_SECONDS = 1;
/** A second instance of one launch is seen at the next look; looks fail half of the time. */
const SECOND_INSTANCE_SECONDS = 60;
/** A stop without an answer counts from its call; the provider may have taken its time. */
const LATE_SECONDS = 4;

const WEBHOOK_ATTEMPTS = 5;
/** Half of the calls of the control API were to fail. */
const LEAST_SHARE_OF_FAILURES = 0.3;
const ENOUGH_CALLS = 50;

/** The promises that a drill shows to be broken, as sentences; none when all were kept. */
export function checkChaos(facts: ChaosFacts): string[] {
  return [
    ...checkDrill(facts),
    ...facts.unsettled.map((what) => `not as it should be at the end: ${what}`),
    ...checkJobs(facts),
    ...checkObjects(facts),
    ...checkRenders(facts),
    ...checkWebhooks(facts),
    ...checkLifetimes(facts),
    ...checkCounts(facts),
    ...checkLedger(facts),
  ];
}

/** A drill that does not do what it says proves nothing. */
function checkDrill({ plannedTroubles, troubles, jobs, renders, controlCalls }: ChaosFacts): string[] {
  const found = plannedTroubles.filter((kind) => !troubles[kind]).map((kind) => `the drill made no trouble: ${kind}`);
  const { made, hit } = controlCalls;
  if (hit === 0 || (made >= ENOUGH_CALLS && hit < LEAST_SHARE_OF_FAILURES * made))
    found.push(`only ${hit} of ${made} calls of the control API failed`);
  for (const model of ["portrait", "lipsync"]) {
    if (!renders.some((render) => render.model === model)) found.push(`no ${model} was rendered`);
  }
  const successes = jobs.filter(({ state }) => state === "success").length;
  if (successes < jobs.length / 2) found.push(`only ${successes} of ${jobs.length} jobs were successes`);
  return found;
}

function checkJobs({ submitted, jobs }: ChaosFacts): string[] {
  const known = new Set(jobs.map(({ id }) => id));
  const lost = submitted.filter(({ id }) => !known.has(id)).map(({ id }) => `job ${id} was accepted and is lost`);
  return [...lost, ...jobs.flatMap(checkJob)];
}

function checkJob({ id, kind, status, executions, state, states }: JobFact): string[] {
  const job = `${kind} job ${id}`;
  const found: string[] = [];
  const finals = states.filter((state) => finalStates.some((final) => final === state));
  if (executions !== 1) found.push(`${job} was executed ${executions} times`);
  if (finals.length !== 1) found.push(`${job} has ${finals.length} final states: ${states.join(", ")}`);
  if (states.at(-1) !== finals.at(-1)) found.push(`${job} changed after its end: ${states.join(", ")}`);
  if (finals.length === 1 && finals[0] !== state) found.push(`${job} is ${state}, and was ${finals[0]}`);
  if (statusOfState[state] !== status) found.push(`${job} is ${state}, and its workflow is ${status}`);
  return found;
}

function checkObjects({ jobs, leftInputs }: ChaosFacts): string[] {
  const missing = jobs.flatMap(({ id, kind, state, files, missing: keys }) => {
    if (state !== "success") return [];
    const nothing = files.length === 0 ? [`${kind} job ${id} is a success without a file`] : [];
    return [...nothing, ...keys.map((key) => `${kind} job ${id} is a success, and ${key} is not stored`)];
  });
  return [...missing, ...leftInputs.map((key) => `${key} was not removed`)];
}

function checkRenders({ renders, jobs }: ChaosFacts): string[] {
  const found: string[] = [];
  const starts = new Map(jobs.map(({ id, modalStarts }) => [id, modalStarts]));
  for (const [key, runs] of groupBy(renders, ({ model, key }) => `${model} ${key}`)) {
    const [{ model, key: name } = { model: "", key }] = runs;
    // A server that restarted has forgotten its run: that one alone is made again.
    const whole = runs.filter(({ outcome }) => outcome !== "lost");
    if (model === "portrait" && whole.length > 1)
      found.push(`${name} was rendered ${whole.length} times on one lease: ${outcomes(runs)}`);
    // A call whose start was not answered may run in vain.
    const tried = starts.get(name) ?? 0;
    if (model === "lipsync" && runs.length > tried)
      found.push(`the lip-sync of job ${name} ran ${runs.length} times, started ${tried} times: ${outcomes(runs)}`);
  }
  return [...found, ...checkSharing(renders)];
}

function outcomes(runs: readonly RenderFact[]): string {
  return runs.map(({ outcome }) => outcome ?? "unfinished").join(", ");
}

/** Two models at work on one node are two jobs: the steps of one job come one after the other. */
function checkSharing(renders: readonly RenderFact[]): string[] {
  const found: string[] = [];
  for (const [node, runs] of groupBy(
    renders.filter(({ node }) => node !== "modal"),
    ({ node }) => node,
  )) {
    const inOrder = runs.toSorted((a, b) => a.startedAt - b.startedAt);
    inOrder.forEach((run, index) => {
      const before = inOrder[index - 1];
      if (before !== undefined && (before.finishedAt ?? Number.POSITIVE_INFINITY) > run.startedAt)
        found.push(`on ${node} a ${run.model} run began while a ${before.model} run went on`);
    });
  }
  return found;
}

function checkWebhooks({ jobs, deliveries }: ChaosFacts): string[] {
  const byJob = groupBy(deliveries, ({ jobId }) => jobId);
  return jobs.flatMap(({ id, kind, state, webhook }) => {
    const job = `${kind} job ${id}`;
    const told = byJob.get(id) ?? [];
    const found: string[] = [];
    const webhookIds = new Set(told.map((delivery) => delivery.id));
    if (webhookIds.size > 1) found.push(`the caller of ${job} was told under ${webhookIds.size} ids`);
    const wrong = told.filter(({ status }) => status !== state);
    if (wrong.length > 0) found.push(`the caller of ${job} was told ${wrong[0]?.status}, and it is ${state}`);
    const taken = told.some((delivery) => delivery.taken);
    const refused = told.filter((delivery) => !delivery.taken).length;
    if (webhook === "COMPLETED" && !taken) found.push(`the caller of ${job} did not take what counts as delivered`);
    // One that was taken while the worker died is sent again: only refusals use up attempts.
    if (webhook === "FAILED" && refused < WEBHOOK_ATTEMPTS)
      found.push(`the caller of ${job} was given up after ${refused} refusals`);
    if (webhook !== "COMPLETED" && webhook !== "FAILED") found.push(`the webhook of ${job} is ${webhook ?? "missing"}`);
    return found;
  });
}

/** From the last use of an instance to its end, in seconds. */
export function unusedSeconds({ instances, lastUse }: Pick<ChaosFacts, "instances" | "lastUse">) {
  return instances.map((instance) => {
    const since = Math.max(instance.created, (lastUse.get(instance.node) ?? 0) / 1000);
    return { instance, seconds: (instance.ended ?? Number.POSITIVE_INFINITY) - since };
  });
}

function checkLifetimes(facts: ChaosFacts): string[] {
  const bound = facts.instanceBoundSeconds;
  return unusedSeconds(facts)
    .filter(({ seconds }) => seconds > bound)
    .map(
      ({ instance, seconds }) =>
        `${nameOf(instance)} was paid for ${seconds.toFixed(0)} s after its last use; the bound is ${bound} s (${managerOf(facts, instance)})`,
    );
}

function checkCounts(facts: ChaosFacts): string[] {
  const { instances, maxGpus } = facts;
  const found: string[] = [];
  const seconds = instances.filter((instance) => isSecond(facts, instance));
  for (const [type, max] of Object.entries(maxGpus)) {
    const counted = instances.filter((instance) => instance.type === type && !seconds.includes(instance));
    const most = mostAtOnce(counted);
    if (most > max) found.push(`${most} instances of ${type} ran at one time; the limit is ${max}`);
  }
  for (const instance of seconds) {
    const alive = (instance.ended ?? Number.POSITIVE_INFINITY) - instance.created;
    if (alive > SECOND_INSTANCE_SECONDS) found.push(`${nameOf(instance)}, a second one of its launch, ran ${alive} s`);
  }
  return found;
}

/**
 * What an unanswered launch left behind: there is another instance of the same launch, or its manager had given up
 * before the provider made it.
 */
export function isSecond(
  { instances, managers }: Pick<ChaosFacts, "instances" | "managers">,
  instance: Instance,
): boolean {
  const { type, expires, created, workload } = instance;
  const launchedTwice = instances.some(
    (other) =>
      other.type === type &&
      other.expires === expires &&
      other.workload !== workload &&
      // The one that lived longer was used.
      (other.ended ?? Number.POSITIVE_INFINITY) >= (instance.ended ?? Number.POSITIVE_INFINITY),
  );
  const manager = managers.find(({ gpuId }) => gpuId === `gpu-${type}-${expires}`);
  return launchedTwice || (manager?.closedAt !== undefined && manager.closedAt < created * 1000);
}

export function mostAtOnce(instances: readonly Instance[]): number {
  const changes = instances.flatMap(({ created, ended = Number.POSITIVE_INFINITY }) => [
    { at: created, by: 1 },
    { at: ended, by: -1 },
  ]);
  // One that ends in the second in which another begins made room for it.
  changes.sort((a, b) => a.at - b.at || a.by - b.by);
  let now = 0;
  return changes.reduce((most, { by }) => {
    now += by;
    return Math.max(most, now);
  }, 0);
}

function checkLedger(facts: ChaosFacts): string[] {
  const { instances, ledger, instanceBoundSeconds } = facts;
  const found: string[] = [];
  const entries = groupBy(ledger, ({ workload }) => workload);
  for (const instance of instances) {
    const { billedSeconds, workload } = instance;
    const [entry, ...more] = entries.get(workload) ?? [];
    if (entry === undefined) {
      found.push(`${nameOf(instance)} (${billedSeconds} s) is not in the ledger (${managerOf(facts, instance)})`);
      continue;
    }
    if (more.length > 0) found.push(`${nameOf(instance)} is in the ledger ${more.length + 1} times`);
    const difference = entry.paidSeconds - billedSeconds;
    // Only what the provider told is exact.
    const told = entry.refundAmount !== undefined;
    // An instance whose end nobody told is counted until it was missed.
    const [least, most] = told ? [-ROUNDING_SECONDS, ROUNDING_SECONDS] : [-LATE_SECONDS, instanceBoundSeconds];
    if (difference < least || difference > most)
      found.push(
        `${nameOf(instance)} is in the ledger with ${entry.paidSeconds.toFixed(1)} s and was billed ${billedSeconds} s (${managerOf(facts, instance)})`,
      );
  }
  const billed = new Set(instances.map(({ workload }) => workload));
  for (const { workload } of ledger) if (!billed.has(workload)) found.push(`${workload} is in the ledger, not billed`);
  return found;
}

function nameOf({ type, node, why }: Instance): string {
  return `instance ${node} of ${type} (${why ?? "running"})`;
}

function managerOf({ managers, instances }: ChaosFacts, instance: Instance): string {
  const gpuId = `gpu-${instance.type}-${instance.expires}`;
  const status = managers.find((manager) => manager.gpuId === gpuId)?.status ?? "unknown";
  return `its manager: ${status}${isSecond({ instances, managers }, instance) ? ", a second one" : ""}`;
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
