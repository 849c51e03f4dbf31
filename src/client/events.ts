import { events as readEvents } from "fetch-event-stream";
import { z } from "zod";
import { jobState } from "../api/openapi/schemas/common.ts";
import { timelineEntrySchema } from "../api/openapi/schemas/jobs.ts";

const statusEvent = timelineEntrySchema.omit({ id: true }).extend({ id: z.string() });
const progressEvent = z.object({ id: z.string(), progress: z.number() });
const endEvent = z.object({ id: z.string(), status: jobState, error: z.string().optional() });

/** What happens to a job. The `id` in `data` is the job's; that of the event, of a `status`, its place in the timeline. */
export type JobEvent =
  | { event: "status"; id: string; data: z.output<typeof statusEvent> }
  | { event: "progress"; data: z.output<typeof progressEvent> }
  | { event: "end"; data: z.output<typeof endEvent> };

/** The events of an answer. What a later API may add is passed over. */
export async function* eventsOf(response: Response, signal?: AbortSignal): AsyncGenerator<JobEvent> {
  for await (const { event, id, data = "" } of readEvents(response, signal)) {
    if (event === "status") yield { event, id: String(id), data: statusEvent.parse(JSON.parse(data)) };
    if (event === "progress") yield { event, data: progressEvent.parse(JSON.parse(data)) };
    if (event === "end") yield { event, data: endEvent.parse(JSON.parse(data)) };
  }
}
