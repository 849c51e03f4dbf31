import { randomUUID } from "node:crypto";
import type { Readable } from "node:stream";
import type { JobType } from "../jobs/job.ts";
import type { Client, Job, JobEvent, JobFilter, Versions } from "../sdk/index.ts";
import { saveResults } from "./download.ts";
import { exitCodes, UsageError } from "./exitCodes.ts";
import { readSubmission, splitPair } from "./fields.ts";
import { createInput } from "./input.ts";
import { createProgress } from "./progress.ts";
import { harmless, readable, table } from "./readable.ts";
import { reasonOf } from "./reason.ts";

export interface Terminal {
  stdin: Readable;
  /** For what was asked for. */
  stdout: NodeJS.WritableStream;
  /** For everything else. */
  stderr: NodeJS.WritableStream & { isTTY?: boolean };
}

interface SubmitOptions {
  body?: string;
  wait?: boolean;
  out?: string;
  idempotencyKey?: string;
}

const filters = ["status", "type", "tenant", "limit", "cursor"];

/**
 * What each command does. They return the exit code.
 * @param connect makes the client, where one is needed
 * @param wantsJson whether programs read what is printed
 */
export function createCommands(
  connect: () => Client,
  { stdin, stdout, stderr }: Terminal,
  signal: AbortSignal,
  wantsJson: () => boolean,
) {
  const input = createInput(stdin, signal);
  const say = (line: string) => stderr.write(`${line}\n`);

  /** @param aside makes room for a line */
  function createOnRetry(aside: () => void = () => {}): (error: unknown) => void {
    let last = "";
    return (error) => {
      const reason = harmless(reasonOf(error));
      if (reason === last) return;
      aside();
      // Said once, however long it lasts.
      say(`${reason}; trying again …`);
      last = reason;
    };
  }

  /** @param forPeople when it is not simply a line for each field */
  function print(value: object, forPeople: () => string = () => readable(value)): void {
    stdout.write(`${wantsJson() ? JSON.stringify(value, null, 2) : forPeople()}\n`);
  }

  async function waitFor(client: Client, id: string, out: string | undefined): Promise<number> {
    const progress = wantsJson() ? undefined : createProgress(stderr);
    const onRetry = createOnRetry(() => progress?.end());
    try {
      return await finish(
        await client.wait(id, { signal, onRetry, onStatus: (status) => progress?.show(status) }),
        out,
      );
    } catch (error) {
      if (signal.aborted) {
        progress?.end();
        say(`Job ${id} goes on: c3-render wait ${id} waits for it again, c3-render cancel ${id} ends it.`);
      }
      throw error;
    } finally {
      progress?.end();
    }

    async function finish(job: Job, out: string | undefined): Promise<number> {
      progress?.end();
      if (job.result === undefined) return failed(job);
      const saved = out === undefined ? undefined : await saveResults(job, out, signal);
      const { text, result_url: url, output_path: path } = job.result;
      print({ ...job, ...(saved && { saved }) }, () => saved?.join("\n") ?? harmless(text ?? url ?? path ?? ""));
      return exitCodes.success;
    }
  }

  function failed(job: { id: string; status: string; error?: string | undefined }): number {
    const status = job.status === "succeeded" ? "success, and its result was removed" : job.status;
    if (wantsJson()) print(job);
    else say(harmless(`Job ${job.id} is ${status}${job.error === undefined ? "" : `: ${job.error}`}`));
    return exitCodes.jobFailed;
  }

  return {
    async submit(type: JobType, pairs: string[], options: SubmitOptions): Promise<number> {
      const body = await readSubmission(type, pairs, options.body, input);
      const client = connect();
      const idempotencyKey = options.idempotencyKey ?? randomUUID();
      const id = await client
        .submit(type, body, { signal, idempotencyKey, onRetry: createOnRetry() })
        .catch((error) => {
          if (signal.aborted)
            say(`It may have been submitted: with --idempotency-key ${idempotencyKey} there is no second job.`);
          throw error;
        });
      if (options.wait || options.out !== undefined) return await waitFor(client, id, options.out);
      print({ id }, () => id);
      return exitCodes.success;
    },

    async status(id: string): Promise<number> {
      print(await connect().status(id, { signal }));
      return exitCodes.success;
    },

    async job(id: string): Promise<number> {
      print(await connect().job(id, { signal }));
      return exitCodes.success;
    },

    async result(id: string, { out }: { out?: string }): Promise<number> {
      const client = connect();
      const result = await client.result(id, { signal });
      if (result.status === "failed") return failed(result);
      const saved = out === undefined ? undefined : await saveResults(await client.job(id, { signal }), out, signal);
      const { text, result_url: url, output_path: path } = result;
      print({ ...result, ...(saved && { saved }) }, () => saved?.join("\n") ?? harmless(text ?? url ?? path ?? ""));
      return exitCodes.success;
    },

    async wait(id: string, { out }: { out?: string }): Promise<number> {
      return await waitFor(connect(), id, out);
    },

    async events(id: string): Promise<number> {
      let exitCode: number = exitCodes.success;
      for await (const event of connect().events(id, { signal, onRetry: createOnRetry() })) {
        stdout.write(`${wantsJson() ? JSON.stringify(event) : harmless(eventLine(event))}\n`);
        if (event.event === "end" && event.data.status !== "success") exitCode = exitCodes.jobFailed;
      }
      return exitCode;
    },

    async deliveries(id: string, { again }: { again?: boolean }): Promise<number> {
      const client = connect();
      if (again) print({ message: await client.redeliver(id, { signal }) });
      else print(await client.deliveries(id, { signal }));
      return exitCodes.success;
    },

    async cancel(id: string): Promise<number> {
      const message = await connect().cancel(id, { signal });
      print({ message }, () => harmless(message));
      return exitCodes.success;
    },

    async remove(id: string): Promise<number> {
      const message = await connect().remove(id, { signal });
      print({ message }, () => harmless(message));
      return exitCodes.success;
    },

    async list(pairs: string[]): Promise<number> {
      const filter: JobFilter = Object.fromEntries(
        pairs.map((pair) => splitPair(pair, filters, "what jobs are chosen by")),
      );
      const page = await connect().list(filter, { signal });
      print(page, () => {
        const rows = page.jobs.map(({ id, type, status, stage, created_at, error }) => ({
          id,
          type,
          status,
          stage,
          created_at,
          error,
        }));
        const more = page.next_cursor === undefined ? "" : `\n\nThe next ones: cursor=${page.next_cursor}`;
        return rows.length === 0 ? "no jobs" : `${table(rows)}${more}`;
      });
      return exitCodes.success;
    },

    async pools(): Promise<number> {
      print(await connect().pools({ signal }));
      return exitCodes.success;
    },

    async gpus(): Promise<number> {
      print(await connect().gpus({ signal }));
      return exitCodes.success;
    },

    async versions({ makeCurrent, rollBack }: { makeCurrent?: string; rollBack?: true }): Promise<number> {
      const client = connect();
      const found = await client.versions({ signal });
      const wanted = makeCurrent ?? (rollBack ? previousOf(found) : undefined);
      const { current, versions } =
        wanted === undefined ? found : await client.makeCurrent(wanted === "none" ? null : wanted, { signal });
      const rows = versions.map(({ id, status, current_at }) => ({ id, status, current_at }));
      print({ current, versions }, () => (rows.length === 0 ? "no version was announced" : table(rows)));
      return exitCodes.success;
    },
  };
}

/** The one that was current before the one that is. */
function previousOf({ current, versions }: Versions): string {
  const [previous] = versions
    .filter(({ id, current_at }) => id !== current && current_at !== undefined)
    .sort((a, b) => Date.parse(b.current_at ?? "") - Date.parse(a.current_at ?? ""));
  if (previous === undefined) throw new UsageError("--roll-back: no other version was ever current");
  return previous.id;
}

function eventLine({ event, data }: JobEvent): string {
  switch (event) {
    case "status":
      return `${data.at}  ${data.status}  ${data.event}`;
    case "progress":
      return `${Math.round(data.progress * 100)} %`;
    case "end":
      return data.error === undefined ? data.status : `${data.status}: ${data.error}`;
  }
}
