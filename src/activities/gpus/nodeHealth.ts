import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure, log } from "@temporalio/activity";
import { checkNode, type NodeCheck } from "../../clients/nodeCheck.ts";
import type { Config } from "../../config/index.ts";
import type { InstanceSource } from "./instanceProvider.ts";
import { nodeUrlOf } from "./nodeUrls.ts";

const CHECK_TRIES = 3;
/** A check during which this process was late for so long, in all, says nothing of the node. */
const LATE_MS = 1000;
/** After so long in which no check said anything, another worker is to look. */
const HAND_OVER_MS = 60_000;

/**
 * A doubt that nothing else can confirm ends earlier: that of nodes of one's own, which nobody else knows anything of,
 * and that of a node that has no way to it while others have.
 */
const DOUBT_MS = 45_000;
/** That many others are asked whether they can be reached. */
const OTHERS_ASKED = 3;

type NodeDown = Extract<NodeCheck, { up: false }>;

interface NodeHealthOptions {
  config: Config;
  source: InstanceSource;
  handOverMs?: number;
  doubtMs?: number;
}

/**
 * Whether nodes are well. A check that failed counts against the node only if this machine can be trusted with it:
 * not when this process was too late to hear the answer, nor when it lacked the means to ask, nor when nothing else
 * could be reached. Such a check is made again. When none has counted for a minute the activity fails, so
 * that Temporal gives it to whichever worker takes it first, which is hardly the late one; nothing is decided
 * meanwhile. A node that is really down cannot do harm for ever by that: its job has its own deadline.
 */
export function createNodeHealth({ config, source, handOverMs = HAND_OVER_MS, doubtMs = DOUBT_MS }: NodeHealthOptions) {
  /** Those that this process watches now. */
  const watched = new Set<string>();

  const check = (node: string, signal: AbortSignal) =>
    checkNode(nodeUrlOf(config, { node }), config.comput3.apiKey ?? "", signal);

  async function answers(node: string, signal: AbortSignal): Promise<boolean> {
    const seen = await check(node, signal);
    return seen.up || seen.answered;
  }

  /** Whether nothing can be reached from here: neither the provider nor another node. */
  async function isCutOff(node: string, { reached }: NodeDown, signal: AbortSignal, sinceMs: number) {
    const known = source.answers === undefined ? config.gpu.nodes.map(({ name }) => name) : [...watched];
    const others = known.filter((name) => name !== node).slice(0, OTHERS_ASKED);
    if (source.answers === undefined && (reached || others.length === 0 || sinceMs >= doubtMs)) return false;
    const asked = [source.answers?.(signal) ?? false, ...others.map((other) => answers(other, signal))];
    return !(await isAnyTrue(asked));
  }

  /** @returns why the failed check does not count; undefined if it does */
  async function excuseOf(node: string, seen: NodeDown, signal: AbortSignal, sinceMs: number) {
    if (seen.lateMs > LATE_MS) return `this process was ${Math.round(seen.lateMs)} ms late`;
    if (seen.lack === "resources") return "this machine could not ask";
    if (seen.answered) return undefined;
    if (await isCutOff(node, seen, signal, sinceMs)) return "nothing else can be reached from here";
    // Others answer. But for a moment the way to this one may be missing here only.
    return seen.lack === "network" && sinceMs < doubtMs ? "this machine has no way to it" : undefined;
  }

  /** Judges the failed checks of one node, one after another. */
  function createJudge(node: string, signal: AbortSignal) {
    let doubtSince: number | undefined;
    /**
     * @returns whether the failed check counts against the node
     * @throws ApplicationFailure, to be tried again by another worker, when none has said anything for a minute
     */
    return async function counts(seen: NodeDown): Promise<boolean> {
      doubtSince ??= performance.now();
      const excuse = await excuseOf(node, seen, signal, performance.now() - doubtSince);
      const problem = { node, problem: seen.problem };
      if (excuse === undefined) {
        log.warn("a node does not answer", problem);
        doubtSince = undefined;
        return true;
      }
      log.warn("a check of a node says nothing, and is made again", { ...problem, excuse });
      if (performance.now() - doubtSince < handOverMs) return false;
      log.error("this worker cannot tell how a node is; another one is to look", { ...problem, excuse });
      throw ApplicationFailure.retryable(`node ${node} could not be checked: ${excuse}`, "WatcherUnwell");
    };
  }

  async function isUpAfterAll(node: string, signal: AbortSignal): Promise<boolean> {
    const counts = createJudge(node, signal);
    for (let failures = 0; ; ) {
      const seen = await check(node, signal);
      if (seen.up) return true;
      if (await counts(seen)) failures += 1;
      if (failures === CHECK_TRIES) return false;
      await delay(config.gpu.checkRetryMs, undefined, { signal });
    }
  }

  return {
    /**
     * Watches a node until it has failed three checks that count.
     * @param others is asked after each check that was passed, and says what else is wrong
     * @returns what is wrong
     */
    async watch(node: string, signal: AbortSignal, others: () => Promise<string | undefined>): Promise<string> {
      watched.add(node);
      try {
        for (;;) {
          await delay(config.gpu.watchIntervalMs, undefined, { signal });
          if (!(await isUpAfterAll(node, signal))) return `node ${node} does not answer`;
          const problem = await others();
          if (problem !== undefined) return problem;
        }
      } finally {
        watched.delete(node);
      }
    },

    /**
     * Waits until a node answers.
     * @param readyBy epoch milliseconds; then one check that counts decides
     * @returns false when it did not in time
     */
    async awaitUp(node: string, readyBy: number, signal: AbortSignal): Promise<boolean> {
      const counts = createJudge(node, signal);
      for (;;) {
        const seen = await check(node, signal);
        if (seen.up) return true;
        if (Date.now() >= readyBy && (await counts(seen))) return false;
        await delay(config.gpu.checkRetryMs, undefined, { signal });
      }
    },
  };
}

async function isAnyTrue(answers: readonly (boolean | Promise<boolean>)[]): Promise<boolean> {
  const yes = answers.map(async (answer) => {
    if (!(await answer)) throw new Error("no");
    return true;
  });
  return await Promise.any(yes).catch((error: unknown) => {
    if (error instanceof AggregateError) return false;
    throw error;
  });
}
