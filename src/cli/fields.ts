import { z } from "zod";
import type { JobType } from "../jobs/job.ts";
import { analyzeSchema } from "../jobs/kinds/analyze.ts";
import { csmSchema } from "../jobs/kinds/csm.ts";
import { lipsyncSchema } from "../jobs/kinds/lipsync.ts";
import { portraitSchema } from "../jobs/kinds/portrait.ts";
import { whisperSchema } from "../jobs/kinds/whisper.ts";
import type { Submissions } from "../sdk/index.ts";
import { UsageError } from "./exitCodes.ts";
import type { Input } from "./input.ts";
import { suggestionFor } from "./suggestion.ts";

type Kind = "text" | "list" | "object";

/** The names of the fields are wanted here; limits and defaults are the API's business. */
const defaults = { maxTimeSeconds: 1200, completeInSeconds: 3600, maxTextChars: 20_000 };
const schemas: Record<JobType, () => z.ZodType> = {
  csm: () => csmSchema(defaults),
  whisper: () => whisperSchema(defaults),
  portrait: () => portraitSchema({ ...defaults, greeting: "Hello." }),
  analyze: () => analyzeSchema({ ...defaults, models: ["default"] }),
  lipsync: () => lipsyncSchema({ ...defaults, localPaths: true }),
};

/** The fields of a submission, and what kind of value each has. */
export function fieldsOf(type: JobType): Map<string, Kind> {
  const { properties = {} } = z.toJSONSchema(schemas[type](), { io: "input", unrepresentable: "any" });
  return new Map(Object.entries(properties).map(([name, property]) => [name, kindOf(property)]));
}

function kindOf(property: z.core.JSONSchema._JSONSchema): Kind {
  if (typeof property === "boolean") return "text";
  const types = [property, ...(property.anyOf ?? [])].flatMap((one) =>
    typeof one === "boolean" ? [] : (one.type ?? []),
  );
  if (types.includes("array")) return "list";
  return types.includes("object") ? "object" : "text";
}

/** Whether it fits is for the API to say. */
const bodySchema = z.custom<Submissions[JobType]>(
  (value) => z.record(z.string(), z.unknown()).safeParse(value).success && !Array.isArray(value),
);

/**
 * The body of a submission.
 * @param pairs `<field>=<value>`; a list is given item by item, line by line in a file, or as JSON
 * @param json the body, or a part of it, as JSON; `pairs` win over it
 * @throws UsageError
 */
export async function readSubmission(
  type: JobType,
  pairs: readonly string[],
  json: string | undefined,
  input: Input,
): Promise<Submissions[JobType]> {
  const known = fieldsOf(type);
  const fields: Record<string, unknown> = {};
  for (const pair of pairs) {
    const [name, value] = splitPair(pair, [...known.keys()], `a field of ${type}`);
    const { text, isFile } = await input(name, value);
    const kind = known.get(name);
    const before = fields[name];
    if (kind === "list") fields[name] = [...(Array.isArray(before) ? before : []), ...listOf(name, text, isFile)];
    else if (before !== undefined) throw new UsageError(`${name}: is given twice`);
    else fields[name] = kind === "object" ? jsonOf(name, text) : text;
  }
  const whole = json === undefined ? {} : jsonOf("--body", (await input("--body", json)).text);
  const parsed = bodySchema.safeParse(whole);
  if (!parsed.success) throw new UsageError("--body: must be an object in JSON");
  return { ...parsed.data, ...fields };
}

/** @throws UsageError for what is no pair, or has none of the `known` names */
export function splitPair(pair: string, known: readonly string[], what: string): [name: string, value: string] {
  const at = pair.indexOf("=");
  if (at < 1) throw new UsageError(`${pair}: must be <field>=<value>`);
  const name = pair.slice(0, at);
  if (!known.includes(name)) throw new UsageError(`${name}: is not ${what}${suggestionFor(name, known)}`);
  return [name, pair.slice(at + 1)];
}

function listOf(name: string, text: string, isFile: boolean): unknown[] {
  if (text.trimStart().startsWith("[")) {
    const items = jsonOf(name, text);
    if (Array.isArray(items)) return items;
  }
  return isFile ? text.split(/\r?\n/).filter((line) => line.trim() !== "") : [text];
}

function jsonOf(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${name}: is not JSON: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}
