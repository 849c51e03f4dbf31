import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "@temporalio/client";
import type { Fault } from "../src/simulator/control/faults.ts";
import type { Simulator } from "../src/simulator/simulator.ts";
import type { Random } from "./chaosRandom.ts";
import type { ObjectServer, Restartable, WorkerProcesses } from "./chaosServers.ts";

/** What is done to the system, and how often. */
export interface TroubleCounts {
  "worker killed": number;
  "worker stalled": number;
  "Temporal restarted": number;
  "node killed": number;
  "node vanished": number;
  "ComfyUI restarted": number;
  "object store down": number;
  "object store stalled": number;
  "pool terminated": number;
  "manager terminated": number;
}

export type TroubleKind = keyof TroubleCounts;

interface Trouble {
  kind: TroubleKind;
  atMs: number;
  /** In [0, 1): which of those that there are, and how long. */
  which: number;
  howLong: number;
}

/** Spread over the drill: each kind has its own even intervals, with a random moment in each. */
export function planTroubles(random: Random, counts: TroubleCounts, seconds: number): Trouble[] {
  const kinds = Object.entries(counts) as [TroubleKind, number][];
  return kinds
    .flatMap(([kind, count]) =>
      Array.from({ length: count }, (_, index): Trouble => {
        const atMs = ((index + random.between(0.1, 0.9)) / count) * seconds * 1000;
        return { kind, atMs, which: random.next(), howLong: random.next() };
      }),
    )
    .sort((a, b) => a.atMs - b.atMs);
}

export interface Victims {
  simulator: Simulator;
  client: Client;
  temporal: Restartable;
  workers: WorkerProcesses;
  objects: ObjectServer | undefined;
}

/** Longer than the SDK lets a workflow's script run by default. */
const WORKER_STALLED_SECONDS = 10;
const TEMPORAL_DOWN_SECONDS = 4;
const OBJECTS_DOWN_SECONDS = 20;
const OBJECTS_STALLED_SECONDS = 6;

/** Makes one trouble. @returns false when there was nobody to be troubled */
export async function makeTrouble({ kind, which, howLong }: Trouble, victims: Victims): Promise<boolean> {
  const { simulator, client, temporal, workers, objects } = victims;
  const signal = which < 0.5 ? "SIGKILL" : "SIGTERM";
  const node = pickAt(nodesOf(simulator, kind), which);
  switch (kind) {
    case "worker killed":
      await workers.replace(which);
      return true;
    case "worker stalled":
      await workers.stall(which, WORKER_STALLED_SECONDS);
      return true;
    case "Temporal restarted":
      await temporal.restart(signal, howLong * TEMPORAL_DOWN_SECONDS);
      return true;
    case "node killed":
    case "node vanished":
    case "ComfyUI restarted": {
      const action = (
        { "node killed": "kill_node", "node vanished": "vanish", "ComfyUI restarted": "restart_app" } as const
      )[kind];
      if (node !== undefined) simulator.fault({ service: "node", action, node });
      return node !== undefined;
    }
    case "object store down":
      await objects?.restart(signal, howLong * OBJECTS_DOWN_SECONDS);
      return objects !== undefined;
    case "object store stalled":
      await objects?.stall(howLong * OBJECTS_STALLED_SECONDS);
      return objects !== undefined;
    case "pool terminated":
      return await terminateOne(client, "gpuPool", which);
    case "manager terminated":
      return await terminateOne(client, "gpuManager", which);
    default:
      return kind satisfies never;
  }
}

/**
 * Those that render. An instance that nobody here has seen yet could not be accounted for, were it to vanish; a
 * ComfyUI may restart at any time.
 */
function nodesOf(simulator: Simulator, kind: TroubleKind): string[] {
  const alive = simulator.instances().filter(({ ended, killed }) => ended === undefined && !killed);
  const nodes = alive.map(({ node }) => node);
  const rendering = simulator.renders().filter((render) => render.outcome === undefined && nodes.includes(render.node));
  if (kind !== "ComfyUI restarted") return rendering.map(({ node }) => node);
  const portraits = rendering.filter((render) => render.kind === "portrait").map(({ node }) => node);
  return portraits.length > 0 ? portraits : nodes;
}

async function terminateOne(client: Client, type: string, which: number): Promise<boolean> {
  const open: string[] = [];
  const query = `WorkflowType = '${type}' AND ExecutionStatus = 'Running'`;
  for await (const { workflowId } of client.workflow.list({ query })) open.push(workflowId);
  const victim = pickAt(open.sort(), which);
  if (victim === undefined) return false;
  await client.workflow.getHandle(victim).terminate("the drill");
  return true;
}

function pickAt<T>(choices: readonly T[], place: number): T | undefined {
  return choices[Math.floor(place * choices.length)];
}

type WantedFault = Omit<Fault, "probability"> & { probability?: number };

/** What half of the calls of the control API come to, one after the other. */
function comput3Faults(timeoutMs: number): WantedFault[] {
  const probability = 0.5;
  const late = Math.round(timeoutMs * 1.5);
  return [
    { service: "comput3", action: "status", status: 500, probability },
    { service: "comput3", action: "status", status: 429, probability },
    { service: "comput3", action: "html_error", probability },
    { service: "comput3", action: "reset", probability },
    { service: "comput3", action: "hang", probability },
    { service: "comput3", action: "wrong_mime", probability },
    { service: "comput3", action: "truncate", probability },
    { service: "comput3", action: "drop_reply", probability },
    { service: "comput3", action: "delay", delay_ms: late, probability },
  ];
}

/** On top of them: the most expensive answer to lose. */
const lostLaunch: WantedFault = { service: "comput3", path: "/launch", action: "drop_reply", probability: 0.2 };

/** What now and then happens to the models. */
const modelFaults: WantedFault[] = (["csm", "whisper", "comfyui", "ollama"] as const)
  .flatMap((service): WantedFault[] => [
    { service, action: "status", probability: 0.1 },
    { service, action: "html_error", probability: 0.1 },
    { service, action: "reset", probability: 0.1 },
    { service, action: "delay", delay_ms: 1500, probability: 0.2 },
    { service, action: "drop_reply", probability: 0.1 },
    { service, action: "truncate", probability: 0.1 },
    { service, action: "render_error", probability: 0.1 },
    { service, action: "end_stream_early", probability: 0.3 },
  ])
  .concat([
    { service: "csm", action: "foreign_root", probability: 0.3 },
    { service: "node", action: "status", probability: 0.2 },
    { service: "modal", action: "status", probability: 0.2 },
    { service: "modal", action: "drop_reply", probability: 0.2 },
    { service: "modal", action: "delay", delay_ms: 1500, probability: 0.3 },
    { service: "modal", action: "render_error", probability: 0.2 },
  ]);

const FAULTS_FOR_MS = 1000;

/** Faults that follow each other without a pause, one of the control API and one of a model at any time. */
export async function keepFailing(
  random: Random,
  simulator: Simulator,
  { timeoutMs, signal, made }: { timeoutMs: number; signal: AbortSignal; made: (what: string) => void },
): Promise<void> {
  const control = comput3Faults(timeoutMs);
  const renderSeconds = simulator.settings.renderSeconds;
  try {
    while (!signal.aborted) {
      const chosen = [random.pick(control), lostLaunch, random.pick(modelFaults)];
      simulator.clearFaults();
      for (const fault of chosen) {
        simulator.fault(fault);
        made(`${fault.service}: ${fault.action}`);
      }
      simulator.settings.renderSeconds = random.pick([0, 0.2, 0.5, 2]);
      await delay(FAULTS_FOR_MS, undefined, { signal }).catch(() => {});
    }
  } finally {
    simulator.clearFaults();
    simulator.settings.renderSeconds = renderSeconds;
  }
}
