import { call } from "./api.js";
import { byId, createTable, jobColumn } from "./dom.js";
import { between, percent, time } from "./format.js";

/** @typedef {import("zod").output<typeof import("../openapi/schemas/jobs.ts").jobsSchema>} JobPage */
/** @typedef {JobPage["jobs"][number] & { progress: number | null | undefined }} ListedJob */

/**
 * The list of jobs.
 * @param {() => void} refresh
 */
export function createJobs(refresh) {
  const filters = byId("filters", HTMLFormElement);
  const newest = byId("newest", HTMLButtonElement);
  const older = byId("older", HTMLButtonElement);
  /** Of the page that is shown. @type {string | undefined} */
  let cursor;
  /** @type {string | undefined} */
  let nextCursor;

  const table = createTable("jobs", {
    columns: [
      jobColumn("Job", ({ id }) => id),
      { label: "Type", text: ({ type }) => type },
      { label: "State", kind: "state", text: ({ status }) => status },
      { label: "Stage", text: ({ stage }) => stage ?? "" },
      {
        label: "Progress",
        kind: "minor",
        text: ({ progress }) => (typeof progress === "number" ? percent(progress) : ""),
      },
      { label: "Tenant", kind: "minor", text: ({ tenant }) => tenant },
      { label: "Created", text: ({ created_at }) => time(created_at) },
      { label: "Duration", kind: "minor", text: ({ created_at, finished_at }) => between(created_at, finished_at) },
      { label: "Error", kind: "long", text: ({ error }) => error ?? "" },
    ],
    /** @param {ListedJob} job */
    keyOf: ({ id }) => id,
    nothing: "No jobs.",
  });

  /** @param {string | undefined} wanted */
  function turnTo(wanted) {
    cursor = wanted;
    refresh();
  }
  newest.addEventListener("click", () => turnTo(undefined));
  older.addEventListener("click", () => turnTo(nextCursor));
  filters.addEventListener("change", () => turnTo(undefined));

  return {
    async load() {
      const query = new URLSearchParams();
      for (const [name, value] of new FormData(filters)) if (value !== "") query.set(name, String(value));
      if (cursor !== undefined) query.set("cursor", cursor);
      /** @type {JobPage} */
      const page = await call(`jobs?${query}`);
      table.show(await withProgress(page.jobs));
      nextCursor = page.next_cursor;
      older.disabled = nextCursor === undefined;
      newest.disabled = cursor === undefined;
    },
  };
}

/**
 * A list does not tell the progress. As many jobs render as there are GPUs, so there are few to ask for.
 * @param {JobPage["jobs"]} jobs
 * @returns {Promise<ListedJob[]>}
 */
async function withProgress(jobs) {
  /** @type {Promise<{ progress?: number | null } | undefined>[]} */
  const read = jobs.map(async (job) => (job.stage === "rendering" ? await call(`status/${job.id}`) : undefined));
  const answers = await Promise.allSettled(read);
  return jobs.map((job, index) => {
    const answer = answers[index];
    return { ...job, progress: answer?.status === "fulfilled" ? answer.value?.progress : undefined };
  });
}
