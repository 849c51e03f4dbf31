import { Argument, Command, Option } from "commander";
import { z } from "zod";
import { jobTypes } from "../jobs/job.ts";
import { readPackage } from "../process/packageVersion.ts";
import type { Client } from "../sdk/index.ts";
import { createCommands, type Terminal } from "./commands.ts";
import { EXIT_CODES_HELP, UsageError } from "./exitCodes.ts";
import { fieldsOf } from "./fields.ts";
import { suggestionFor } from "./suggestion.ts";

const SETTINGS_HELP = "The API is at C3_RENDER_URL, the key in C3_RENDER_API_KEY.";
const FIELDS_HELP = `A field is <name>=<value>, where the value may be
  @<file>    what the file holds
  -          what comes in by the standard input
  @@<text>   a text that begins with @
metadata is JSON; the items of monologue are given one by one, line by line in a file, or as a list in JSON.

`;
const EXAMPLES = `
Examples:
  c3-render submit csm text="Hello." voice=conversational_a --out hello.mp3
  c3-render submit csm text=@speech.txt metadata=@order.json --wait --json
  c3-render list status=failed limit=5
`;

/**
 * The `c3-render` program, as it is typed.
 * @param finish is told what the command ends with
 */
export function createProgram(
  connect: () => Client,
  terminal: Terminal,
  signal: AbortSignal,
  finish: (exitCode: number) => void,
): Command {
  const program = new Command("c3-render");
  program
    .description("Submits render jobs, and shows what becomes of them.")
    .version(readPackage().version)
    .option("--json", "print JSON, for programs: nothing else is printed but errors")
    .addHelpText("after", `${EXAMPLES}\n${SETTINGS_HELP}\n\n${EXIT_CODES_HELP}`)
    .configureHelp({ showGlobalOptions: true, helpWidth: 100 })
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, "")),
    })
    .showHelpAfterError("(--help says how it is used)")
    .exitOverride();

  const commands = createCommands(connect, terminal, signal, () => program.opts<{ json?: boolean }>().json === true);
  const runs =
    <A extends unknown[]>(command: (...args: A) => Promise<number>) =>
    async (...args: A) =>
      finish(await command(...args));

  const out = () =>
    new Option(
      "--out <path>",
      "save what came of it: in a file, or all files in a folder, which is there or ends with a slash",
    );
  const jobId = () => new Argument("<id>", "of the job").argParser(jobIdOf);

  program
    .command("submit")
    .summary("submit a job")
    .description("Submits a job. Prints its id, or with --wait what came of it.")
    .addArgument(new Argument("<type>", "of the job").choices(jobTypes).argParser(jobTypeOf))
    .argument("[fields...]", "<name>=<value>")
    .option("--body <json>", "fields as JSON; also @<file> or -")
    .option("--wait", "wait for its end; fails unless it succeeded")
    .addOption(out())
    .option("--idempotency-key <key>", "submitted again with the same key, it makes no second job")
    .addHelpText("after", () => `\n${FIELDS_HELP}${jobTypes.map(fieldsHelp).join("\n")}`)
    .action(runs(commands.submit));
  const aboutJob = (name: string, summary: string) =>
    program.command(name).summary(summary).description(`${summary}.`).addArgument(jobId());
  aboutJob("status", "how a job is").action(runs(commands.status));
  aboutJob("result", "what came of a job").addOption(out()).action(runs(commands.result));
  aboutJob("job", "everything that is known of a job").action(runs(commands.job));
  aboutJob("wait", "wait for the end of a job; fails unless it succeeded").addOption(out()).action(runs(commands.wait));
  aboutJob("events", "what happens to a job, until its end").action(runs(commands.events));
  aboutJob("deliveries", "what became of a job's webhook")
    .option("--again", "send it again")
    .action(runs(commands.deliveries));
  aboutJob("cancel", "cancel a job").action(runs(commands.cancel));
  aboutJob("remove", "cancel a job, if it has not ended, and forget it").action(runs(commands.remove));
  program
    .command("list")
    .summary("jobs, newest first")
    .description("Lists jobs, newest first.")
    .argument("[filters...]", "status=<status> type=<type> tenant=<tenant> limit=<number> cursor=<next_cursor>")
    .action(runs(commands.list));
  program
    .command("pools")
    .summary("who waits for GPUs")
    .description("Pools of GPUs: who waits, and how many there may be. For administrators.")
    .action(runs(commands.pools));
  program
    .command("gpus")
    .summary("the GPUs")
    .description("GPUs: what they do, and what they cost. For administrators.")
    .action(runs(commands.gpus));
  program
    .command("versions")
    .summary("the versions of the workers")
    .description("Versions of the workers: which one new jobs begin on, and which may be stopped. For administrators.")
    .option("--make-current <version>", "new jobs begin on it from now on; none: workers need no version")
    .addOption(new Option("--roll-back", "make the one current that was so before").conflicts("makeCurrent"))
    .action(runs(commands.versions));
  return program;
}

function fieldsHelp(type: (typeof jobTypes)[number]): string {
  return `Fields of ${type}: ${[...fieldsOf(type).keys()].join(", ")}`;
}

function jobTypeOf(name: string) {
  const type = jobTypes.find((known) => known === name);
  if (type !== undefined) return type;
  throw new UsageError(`${name}: is no type of job${suggestionFor(name, jobTypes)}; there are ${jobTypes.join(", ")}`);
}

/** What is not one would lead to another route. */
function jobIdOf(text: string): string {
  if (!z.guid().safeParse(text).success) throw new UsageError(`${text}: is not the id of a job`);
  return text;
}
