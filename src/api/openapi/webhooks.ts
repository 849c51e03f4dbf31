import { ID, type Parameter, type Tag } from "./operation.ts";

const tags: Tag[] = ["Webhooks"];

const headers: (Parameter & { required: boolean })[] = [
  {
    name: "webhook-id",
    in: "header",
    required: true,
    description: "The same on every attempt, so that a repeat can be dropped",
    schema: { type: "string" },
  },
  {
    name: "webhook-timestamp",
    in: "header",
    required: true,
    description: "Of this attempt, in seconds since 1970",
    schema: { type: "string" },
  },
  {
    name: "webhook-signature",
    in: "header",
    required: false,
    description: "Where a secret is configured (https://www.standardwebhooks.com)",
    schema: { type: "string" },
  },
];

/** What receivers are sent. */
export const webhooks = {
  jobEnded: {
    post: {
      operationId: "jobEnded",
      tags,
      summary: "A job has ended",
      description:
        "Sent to the job's `notify_url`. Without an answer of 2xx within 10 seconds it is sent again: four times, 5 seconds " +
        "apart or as `Retry-After` asks, then as the operator has configured. Redirects with 307 and 308 to the same host are followed, no others.",
      security: [],
      parameters: headers,
      requestBody: {
        required: true,
        content: {
          "application/json": {
            schema: { $ref: "#/components/schemas/Webhook" },
            examples: {
              file: {
                value: {
                  id: ID,
                  status: "success",
                  result_url: "https://example.com/files/speech.mp3",
                  metadata: { order: 7 },
                },
              },
              text: { value: { id: ID, status: "success", text: "Hello from c3-render." } },
              failure: {
                value: { id: ID, status: "failed", error: "Job exceeded maximum runtime of 1200 seconds" },
              },
            },
          },
        },
      },
      responses: {
        "2XX": { description: "It has arrived" },
        "410": { description: "Nobody listens here any more: it is not sent again" },
      },
    },
  },
};
