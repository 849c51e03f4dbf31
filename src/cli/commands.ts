import { parseArgs } from "node:util";
import { z } from "zod";
import type { Client, JobFilter, PatientOptions, Submissions } from "../client/index.ts";
import { type JobType, jobTypes } from "../jobs/job.ts";

export const USAGE = `c3-render submit <${jobTypes.join("|")}> [<field>=<value> …] [--json <fields>] [--wait]
c3-render status <id>     how a job is
c3-render result <id>     what came of it
c3-render job <id>        everything that is known of it
c3-render wait <id>       waits for its end; fails unless it succeeded
c3-render cancel <id>
c3-render remove <id>     cancels it, if it has not ended, and forgets it
c3-render list [status=<status>] [type=<type>] [tenant=<tenant>] [limit=<number>] [cursor=<next_cursor>]

The API is at C3_RENDER_URL, the key in C3_RENDER_API_KEY. The fields are those of the API:
c3-render submit csm text="Hello." voice=conversational_a --wait`;

/** What was typed does not make sense. */
export class UsageError extends Error {
  override name = "UsageError";
}

/**
 * Runs a command of the `c3-render` program.
 * @returns what it prints, and whether it succeeded
 * @throws UsageError, and ApiError for what the API refuses
 */
export async function runCommand(
  client: Client,
  args: readonly string[],
  signal: AbortSignal,
  onRetry?: PatientOptions["onRetry"],
): Promise<{ output: unknown; ok: boolean }> {
  const { values, positionals } = parse(args);
  const [command, subject, ...rest] = positionals;
  if (command === "list") {
    const filter: JobFilter = fieldsOf(positionals.slice(1));
    return { output: await client.list(filter, { signal }), ok: true };
  }
  if (subject === undefined) throw new UsageError(`${command ?? "a command"}: something is missing`);
  if (command !== "submit" && rest.length > 0) throw new UsageError(`${rest.join(" ")}: is too much`);
  switch (command) {
    case "submit": {
      const id = await client.submit(typeOf(subject), bodyOf(rest, values.json), { signal, onRetry });
      return values.wait ? await wait(client, id, { signal, onRetry }) : { output: { id }, ok: true };
    }
    case "status":
      return { output: await client.status(subject, { signal }), ok: true };
    case "result":
      return { output: await client.result(subject, { signal }), ok: true };
    case "job":
      return { output: await client.job(subject, { signal }), ok: true };
    case "wait":
      return await wait(client, subject, { signal, onRetry });
    case "cancel":
      return { output: { message: await client.cancel(subject, { signal }) }, ok: true };
    case "remove":
      return { output: { message: await client.remove(subject, { signal }) }, ok: true };
    default:
      throw new UsageError(`${command}: there is no such command`);
  }
}

function parse(args: readonly string[]) {
  try {
    const options = { json: { type: "string" }, wait: { type: "boolean" } } as const;
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

async function wait(client: Client, id: string, options: PatientOptions) {
  const job = await client.wait(id, options);
  return { output: job, ok: job.result !== undefined };
}

function typeOf(name: string): JobType {
  const type = jobTypes.find((known) => known === name);
  if (type === undefined) throw new UsageError(`${name}: must be one of ${jobTypes.join(", ")}`);
  return type;
}

/** Whether it fits is for the API to say. */
const bodySchema = z.custom<Submissions[JobType]>(
  (value) => z.record(z.string(), z.unknown()).safeParse(value).success,
);

function bodyOf(fields: readonly string[], json = "{}"): Submissions[JobType] {
  const parsed = bodySchema.safeParse(jsonOf(json));
  if (!parsed.success) throw new UsageError("--json: must be an object in JSON");
  return { ...parsed.data, ...fieldsOf(fields) };
}

function fieldsOf(fields: readonly string[]): Record<string, string> {
  const pairs = fields.map((field) => {
    const at = field.indexOf("=");
    if (at < 1) throw new UsageError(`${field}: must be <field>=<value>`);
    return [field.slice(0, at), field.slice(at + 1)] as const;
  });
  return Object.fromEntries(pairs);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
