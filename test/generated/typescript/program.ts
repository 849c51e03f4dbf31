import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Schemas = components["schemas"];

/** Submits a job with types that were generated, and says what came of it. */
const client = createClient<paths>({ baseUrl: process.argv[2] ?? "" });

function required<T>({ data, error }: { data?: T; error?: Schemas["Error"] }): T {
  if (data === undefined) throw new Error(error?.error ?? "no answer");
  return data;
}

// Nothing but what is needed has to be given; null is not what is left out.
const metadata: Schemas["Metadata"] = { order: 7 };
const header = { "Idempotency-Key": crypto.randomUUID(), Prefer: "wait=60" };
let path: { id: string };
let status: Schemas["Status"];
do {
  // Under its key it is one job; each answer waits for its end.
  const accepted = required(await client.POST("/csm", { params: { header }, body: { text: "Hello.", metadata } }));
  path = { id: accepted.id };
  status = required(await client.GET("/status/{id}", { params: { path } }));
} while (status.status === "queued" || status.status === "running");
const job: Schemas["Job"] = required(await client.GET("/jobs/{id}", { params: { path } }));
const result: Schemas["Result"] = required(await client.GET("/result/{id}", { params: { path } }));
const seconds: number | undefined = job.cost?.gpu_seconds.busy;
const page = required(await client.GET("/jobs", { params: { query: { status: "success", limit: 1 } } }));

const { error: refusal } = await client.POST("/portrait", { body: { image_url: "nowhere", voice: "random" } });
const errors: Record<string, string> | undefined = refusal?.errors;

const hook: Schemas["Webhook"] = { id: path.id, status: "success", text: "Hello." };
// @ts-expect-error It is a word of other services.
const wrong: Schemas["Webhook"] = { id: path.id, status: "done" };
// @ts-expect-error A picture is needed.
const incomplete: Schemas["PortraitSubmission"] = { text: "Hello." };

const known = [hook, wrong, incomplete].length;
console.log(
  JSON.stringify({
    status: job.status,
    result,
    metadata: job.metadata,
    seconds,
    errors,
    known,
    listed: page.jobs.length,
  }),
);
