import {
  ActivityCancellationType,
  allHandlersFinished,
  CancellationScope,
  condition,
  isCancellation,
  log,
  makeContinueAsNewFunc,
  patched,
  proxyActivities,
  setHandler,
  setWorkflowOptions,
  workflowInfo,
} from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import type { EndedInstance } from "../contracts/activityTypes.ts";
import { taskQueues } from "../contracts/names.ts";
import { assign, drain, keep, releaseLease, renewLease } from "../contracts/signals.ts";
import type { Assignment, GpuUsage, LeaseRelease } from "../gpus/types.ts";
import { openUsage } from "../gpus/usage.ts";
import { stopGpu, writeLedger } from "./endInstance.ts";
import { failureSentence, launchedNothing } from "./failures.ts";
import { type CarriedRecord, createInstanceRecord } from "./instanceRecord.ts";
import { movesToCurrentVersion } from "./versioning.ts";
import { createAlarm } from "./wakeTimer.ts";

export interface GpuSettings {
  /** Between a launch and the first health check. */
  bootDelayMs: number;
  readyTimeoutMs: number;
  idleTimeoutMs: number;
  /** Age at which no further job is taken. */
  replaceAfterMs: number;
  /** A lease that was not renewed for so long is taken back. */
  leaseTimeoutMs: number;
  /** Money; undefined when it is not known. */
  ratePerHour?: number;
}

export interface GpuInput {
  gpuId: string;
  type: string;
  /** Epoch seconds; together with the type it identifies the instance at the provider. */
  expires: number;
  /** The node of one's own that it is; absent when it is rented. */
  node?: string;
  settings: GpuSettings;
  /** What the run before knew. */
  carried?: Carried;
}

/** How an instance ended, and what it cost. */
export interface GpuResult {
  reason: string;
  /** What was stopped at the provider; a lost reply to the launch makes it two. */
  ended: EndedInstance[];
  usage?: GpuUsage;
}

interface Carried {
  record: CarriedRecord;
  renewedAt: number;
}

interface Stop {
  reason: string;
  /** The holder is not waited for. */
  now: boolean;
  /** The node is to blame for it, so the holder's attempt counts. */
  nodeFault: boolean;
}

/** Until another worker goes on: nobody uses what is paid for meanwhile, or misses a node that is gone. */
const HEARTBEAT_TIMEOUT = "15s";
/** Later than that nobody looks who is not overloaded, or away. */
const PUNCTUAL_MS = 5000;
/** A launch must be seen to have happened or not: never given up while it runs. */
const patient = {
  taskQueue: taskQueues.gpu,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
} as const;

const { launchGpu } = proxyActivities<Activities>({
  ...patient,
  // It may wait for as long as half a life of the instance until the provider takes the key again.
  startToCloseTimeout: "90m",
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  summary: "rent an instance",
});
const { awaitGpuReady } = proxyActivities<Activities>({
  ...patient,
  startToCloseTimeout: "1h",
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  summary: "wait until the node answers",
});
const { watchGpu } = proxyActivities<Activities>({
  ...patient,
  startToCloseTimeout: "1 day",
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  retry: { initialInterval: "1s", maximumInterval: "15s" },
  summary: "watch the instance",
});
setWorkflowOptions(movesToCurrentVersion, gpuManager);

/**
 * Owns one paid instance from its launch until it is seen to be gone, and alone grants its lease.
 *
 * It runs in a non-cancellable scope: *Cancel* in the Web UI means drain, and the workflow never ends
 * before the instance has.
 */
export async function gpuManager(input: GpuInput): Promise<GpuResult> {
  const { gpuId, type, expires, node: ownNode, settings } = input;
  const instance = createInstanceRecord(input, input.carried?.record);
  const { startedAt } = instance.view;
  let renewedAt = input.carried?.renewedAt ?? 0;
  let stop: Stop | undefined;
  /** It is certain that there is no instance to be stopped. */
  let nothingLaunched = false;
  let keptAsTold = input.carried?.record.view.kept ?? false;
  const assigned: Assignment[] = [];
  /** A cancelled watch ends at its next heartbeat; what must not outrun it waits here. */
  let watchEnded: Promise<void> = Promise.resolve();
  const released: LeaseRelease[] = [];

  /** Asks for the end; a call that does not wait for the holder overrides one that does. */
  const requestStop = (request: Stop) => {
    if (stop === undefined || (request.now && !stop.now)) stop = request;
  };
  setHandler(assign, (assignment) => void assigned.push(assignment));
  setHandler(releaseLease, (release) => void released.push(release));
  setHandler(renewLease, ({ leaseId }) => {
    if (instance.view.lease?.leaseId === leaseId) renewedAt = Date.now();
  });
  setHandler(keep, (told) => {
    keptAsTold = told.kept;
  });
  setHandler(drain, ({ now, reason }) => requestStop({ reason, now, nodeFault: false }));
  CancellationScope.current().cancelRequested.catch(() =>
    requestStop({ reason: "cancelled in Temporal", now: false, nodeFault: false }),
  );

  return await CancellationScope.nonCancellable(async () => {
    if (input.carried === undefined) await boot();
    while (stop === undefined || instance.view.lease !== undefined) await serve();
    return await shutDown(stop);
  });

  /** From nothing to an idle instance, or to a reason to stop. */
  async function boot(): Promise<void> {
    const scope = new CancellationScope();
    // Without a stop it waits on, and costs nothing.
    void condition(() => stop !== undefined).then(() => scope.cancel());
    try {
      await scope.run(async () => {
        const { workload, node, created } = await launchGpu({
          gpuId,
          type,
          expires,
          launchedAfter: startedAt,
          ...(ownNode !== undefined && { node: ownNode }),
        });
        const { bootDelayMs, readyTimeoutMs, ratePerHour } = settings;
        const usage = openUsage(created * 1000, ratePerHour);
        await instance.change({ state: "starting", workload, node, usage });
        await awaitGpuReady({ gpuId, node, bootDelayMs, readyBy: Date.now() + readyTimeoutMs });
      });
      instance.account("bootMs", Date.now());
      await instance.change({ state: "idle" });
    } catch (error) {
      instance.account("bootMs", Date.now());
      nothingLaunched = launchedNothing(error);
      if (stop === undefined) {
        const nodeFault = true;
        requestStop({ reason: `could not be started: ${failureSentence(error)}`, now: true, nodeFault });
      } else if (!isCancellation(error)) {
        log.warn("the start of the instance failed while it was being stopped", {
          gpuId,
          error: failureSentence(error),
        });
      }
    }
  }

  /** Grants and takes back leases, until the instance is to stop or the history is long enough. */
  async function serve(): Promise<void> {
    const alarm = createAlarm();
    const watching = new CancellationScope();
    const watch = watching
      .run(() =>
        watchGpu({ gpuId, type, expires, workload: instance.view.workload ?? "", node: instance.view.node ?? "" }),
      )
      .then((seen) => requestStop({ reason: seen.reason, now: true, nodeFault: true }))
      .catch((error: unknown) => {
        if (!watching.consideredCancelled) {
          requestStop({ reason: `cannot be watched: ${failureSentence(error)}`, now: true, nodeFault: true });
        }
      });
    let due = false;
    while (!due) {
      await takeReleases();
      await takeAssignments();
      await takeKeep();
      retireWhenDue();
      if (stop !== undefined && (instance.view.lease === undefined || stop.now)) break;
      if (stop !== undefined && instance.view.state === "leased")
        await instance.change({ state: "draining", reason: stop.reason });
      // One that drains ends soon, and has no next run.
      due = stop === undefined && workflowInfo().continueAsNewSuggested;
      if (due) break;
      const heard = () =>
        assigned.length > 0 || released.length > 0 || mustTellKept() || (stop !== undefined && needsAction(stop));
      await alarm.wait(heard, nextLook(), "idle timeout, age and lease of the instance");
    }
    watching.cancel();
    watchEnded = watch;
    if (stop?.now && instance.view.lease !== undefined)
      await takeLeaseAway(instance.view.lease, stop.reason, stop.nodeFault);
    if (due && stop === undefined) await carryOn();
  }

  function needsAction(request: Stop): boolean {
    return request.now || instance.view.lease === undefined || instance.view.state !== "draining";
  }

  async function carryOn(): Promise<void> {
    await watchEnded;
    await condition(allHandlersFinished);
    while (assigned.length > 0 || released.length > 0 || mustTellKept()) {
      await takeReleases();
      await takeAssignments();
      await takeKeep();
    }
    if (stop === undefined) {
      // The reconciler may look before the next run has said anything.
      const goOn = makeContinueAsNewFunc<typeof gpuManager>({ memo: { gpu: instance.view } });
      await goOn({ ...input, carried: { record: instance.carried(), renewedAt } });
    }
  }

  async function takeAssignments(): Promise<void> {
    for (let assignment = assigned.shift(); assignment !== undefined; assignment = assigned.shift()) {
      if (instance.view.lease?.leaseId === assignment.leaseId) continue;
      if (stop !== undefined || instance.view.lease !== undefined || instance.view.state !== "idle") {
        await instance.change({}, { refused: assignment.leaseId });
        continue;
      }
      await grant(assignment);
    }
  }

  async function grant(assignment: Assignment): Promise<void> {
    renewedAt = Date.now();
    const delivered = await instance.lend(assignment);
    // Only a job that is certainly gone gives the lease back here: one that may have got it may use the node.
    if (delivered === false) await instance.change({ state: "idle" }, { released: assignment.leaseId });
  }

  async function takeReleases(): Promise<void> {
    for (let release = released.shift(); release !== undefined; release = released.shift()) {
      if (instance.view.lease?.leaseId !== release.leaseId) continue;
      if (release.outcome === "suspect") {
        requestStop({ reason: "the job's run failed on it or was not seen to end", now: false, nodeFault: true });
      }
      const heldMs = instance.account("busyMs", release.at);
      const servedSeconds = release.outcome === "completed" ? { servedSeconds: heldMs / 1000 } : {};
      const ended = { released: release.leaseId, ...servedSeconds };
      await instance.change({ state: stop === undefined ? "idle" : "draining" }, ended);
    }
  }

  async function takeKeep(): Promise<void> {
    if (mustTellKept()) await instance.change({ kept: keptAsTold });
  }

  function mustTellKept(): boolean {
    return keptAsTold !== (instance.view.kept ?? false);
  }

  function retireWhenDue(): void {
    const now = Date.now();
    const lateMs = now - renewedAt - settings.leaseTimeoutMs;
    if (instance.view.lease !== undefined && lateMs >= 0) {
      // Who looks so late was overloaded, or no worker was there: then the job could not renew it, either.
      if (lateMs > PUNCTUAL_MS && patched("late-look-at-lease")) renewedAt = now - settings.leaseTimeoutMs / 2;
      else requestStop({ reason: "the lease was not renewed", now: true, nodeFault: true });
    } else if (startedAt + settings.replaceAfterMs <= now) {
      requestStop({ reason: "old enough to be replaced", now: false, nodeFault: false });
    } else if (idleUntil() <= now) {
      requestStop({ reason: "idle for too long", now: false, nodeFault: false });
    }
  }

  /** Epoch milliseconds; never for one that is in use or kept warm. */
  function idleUntil(): number {
    const { lease, kept, since } = instance.view;
    return lease === undefined && !kept ? since + settings.idleTimeoutMs : Infinity;
  }

  function nextLook(): number {
    const idleOrLeaseEnds = instance.view.lease === undefined ? idleUntil() : renewedAt + settings.leaseTimeoutMs;
    return stop === undefined ? Math.min(idleOrLeaseEnds, startedAt + settings.replaceAfterMs) : idleOrLeaseEnds;
  }

  async function takeLeaseAway(lease: Assignment, reason: string, nodeFault: boolean): Promise<void> {
    const at = Date.now();
    instance.account("busyMs", at);
    await instance.tellHolder(lease, { reason, nodeFault, at });
    await instance.change({ state: "stopping", reason }, { released: lease.leaseId });
  }

  async function shutDown({ reason }: Stop): Promise<GpuResult> {
    await instance.change({ state: "stopping", reason });
    const { workload, node, usage: used } = instance.view;
    const own = workload !== undefined &&
      node !== undefined &&
      used && { workload, node, created: used.paidFrom / 1000 };
    // Only launches of the present code say that they left nothing behind, so that older histories are replayed as they were.
    const isStopped = nothingLaunched && !own;
    const { ended } = isStopped ? { ended: [] } : await stopGpu({ gpuId, type, expires, ...(own && { own }) });
    const end = ended.find((one) => one.workload === workload);
    if (end !== undefined) instance.account("idleMs", end.stoppedAt);
    const { usage } = instance.view;
    if (ended.length > 0) await writeLedger({ gpuId, type, ended, ...(usage && { usage }) });
    for (const assignment of assigned.splice(0)) await instance.change({}, { refused: assignment.leaseId });
    await instance.change({ state: "stopped" });
    await watchEnded;
    return { reason, ended, ...(usage && { usage }) };
  }
}
