import {
  Agenda,
  COMPLETE_IN,
  IDLE_TIMEOUT,
  LAUNCH,
  MAX_GPUS,
  type Outcome,
  REPLACE_AFTER,
  type Run,
  SAMPLE_EVERY,
  type SimulatedJob,
} from "./schedulingSimulator.ts";
import type { Random } from "./schedulingTraces.ts";

interface Worker {
  busy: boolean;
  gpu?: { startedAt: number; idleSince: number };
}

/** How often a worker of the original looks into the queue, in seconds. */
const POLL = 1;

export function simulateOriginal(jobs: readonly SimulatedJob[], random: Random): Run {
  const agenda = new Agenda();
  const workers: Worker[] = Array.from({ length: MAX_GPUS }, () => ({ busy: false }));
  const outcomes: Outcome[] = jobs.map((job) => ({ job, held: 0, inTime: false }));
  const run: Run = { gpuSeconds: 0, outcomes, samples: [], launches: 0 };
  const queue: Outcome[] = [];
  let now = 0;
  let open = jobs.length;

  const stop = (worker: Worker) => {
    if (worker.gpu !== undefined) run.gpuSeconds += now - worker.gpu.startedAt;
    delete worker.gpu;
  };
  const nextWorker = () => {
    const idle = workers.filter((worker) => !worker.busy);
    const warm = idle.filter((worker) => worker.gpu !== undefined);
    const from = warm.length === 0 ? idle : warm;
    return from[Math.floor(random() * from.length)];
  };
  const start = (worker: Worker, outcome: Outcome) => {
    worker.busy = true;
    let readyAt = now + POLL;
    if (worker.gpu === undefined) {
      worker.gpu = { startedAt: readyAt, idleSince: now };
      readyAt += LAUNCH;
      run.launches += 1;
    }
    outcome.wait = readyAt - outcome.job.at;
    agenda.add(readyAt + outcome.job.service, () => {
      outcome.held = outcome.job.service;
      outcome.endedAt = now;
      outcome.inTime = now <= outcome.job.at + (outcome.job.completeIn ?? COMPLETE_IN);
      open -= 1;
      worker.busy = false;
      const { gpu } = worker;
      if (gpu === undefined) return;
      gpu.idleSince = now;
      if (now - gpu.startedAt >= REPLACE_AFTER) stop(worker);
      const idleSince = now;
      agenda.add(now + IDLE_TIMEOUT, () => {
        if (!worker.busy && worker.gpu?.idleSince === idleSince) stop(worker);
      });
    });
  };

  for (const outcome of outcomes) agenda.add(outcome.job.at, () => void queue.push(outcome));
  const sample = () => {
    const gpus = workers.filter((worker) => worker.gpu !== undefined).length;
    run.samples.push({ at: now, gpus, queue: queue.length });
    if (open > 0) agenda.add(now + SAMPLE_EVERY, sample);
  };
  agenda.add(0, sample);
  for (let item = agenda.take(); item !== undefined; item = agenda.take()) {
    now = item.at;
    item.run();
    for (let worker = nextWorker(); worker !== undefined && queue.length > 0; worker = nextWorker())
      start(worker, queue.shift()!);
  }
  for (const worker of workers) stop(worker);
  return run;
}

/** First in, first out on as many GPUs, warm from the start; only jobs whose deadline has passed are left out. */
export function fifo(jobs: readonly SimulatedJob[]): Run {
  const outcomes: Outcome[] = jobs.map((job) => ({ job, held: 0, inTime: false }));
  const freeAt = Array.from({ length: MAX_GPUS }, () => 0);
  for (const outcome of outcomes) {
    const { at, service, completeIn = COMPLETE_IN } = outcome.job;
    const first = freeAt.indexOf(Math.min(...freeAt));
    const startsAt = Math.max(at, freeAt[first] ?? 0);
    const deadline = at + completeIn;
    if (startsAt >= deadline) continue;
    const endsAt = Math.min(startsAt + service, deadline);
    Object.assign(outcome, { wait: startsAt - at, held: endsAt - startsAt, inTime: startsAt + service <= deadline });
    freeAt[first] = endsAt;
  }
  return { gpuSeconds: 0, outcomes, samples: [], launches: 0 };
}
