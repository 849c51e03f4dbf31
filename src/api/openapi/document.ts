import { z } from "zod";
import type { Config } from "../../config.ts";
import { bodySchemas } from "../../jobs/body.ts";
import { withNullable } from "./nullable.ts";
import type { Operation } from "./operation.ts";
import { operationObject } from "./operationObject.ts";
import { codecOperations } from "./operations/codec.ts";
import { deliveryOperations } from "./operations/deliveries.ts";
import { gpuOperations } from "./operations/gpus.ts";
import { jobOperations } from "./operations/jobs.ts";
import { resultOperations } from "./operations/results.ts";
import { fileOperation, serviceOperations } from "./operations/service.ts";
import { submissionOperations } from "./operations/submissions.ts";
import { schemasOf } from "./schemas.ts";
import { webhooks } from "./webhooks.ts";

const DESCRIPTION = `Text, sound and pictures in; speech, transcripts, talking portraits, descriptions and lip-synced videos out.

A submission is answered with the id of a job. Ask for its status until it has ended, or let a webhook tell you; then fetch
the result. Unknown fields are ignored, and so are those that do not apply; in a submission \`null\`, and an empty text where no number is
wanted, say that a field is left out; numbers may be strings, and fractions of whole numbers are cut off. Every answer has an \`X-Request-Id\`: that of
the request, or a new one.`;

/** The API as an OpenAPI 3.1 document: its schemas are made from those that validate, with this service's defaults. */
export function openApiDocument(config: Config, { servesFiles }: { servesFiles: boolean }) {
  const operations = [
    ...submissionOperations,
    ...jobOperations,
    ...resultOperations,
    ...(servesFiles ? [fileOperation] : []),
    ...deliveryOperations,
    ...gpuOperations,
    ...(config.temporal.payloadKeys.length > 0 ? codecOperations : []),
    ...serviceOperations,
  ];
  return {
    openapi: "3.1.1",
    info: { title: "c3-render", version: "v0", description: DESCRIPTION, license: { name: "MIT", identifier: "MIT" } },
    // Relative to the document, which is served under each base path.
    servers: [{ url: ".", description: "This one" }],
    security: [{ key: [] }, { bearer: [] }],
    tags: ["Submissions", "Jobs", "Operations", "Service"].map((name) => ({ name })),
    paths: pathsOf(operations),
    webhooks,
    components: {
      schemas: jsonSchemas(config),
      securitySchemes: {
        key: { type: "apiKey", in: "header", name: "X-C3-RENDER-KEY" },
        bearer: { type: "http", scheme: "bearer" },
      },
    },
  };
}

function pathsOf(operations: readonly Operation[]) {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: operationObject(operation) };
  }
  return paths;
}

function jsonSchemas(config: Config) {
  const registry = z.registry<{ id: string }>();
  const bodies = new Set<string>();
  for (const [id, schema] of Object.entries(schemasOf(config))) {
    registry.add(schema, { id });
    if (bodySchemas.has(schema)) bodies.add(id);
  }
  const { schemas } = z.toJSONSchema(registry, {
    io: "input",
    uri: (id) => `#/components/schemas/${id}`,
    override: ({ jsonSchema }) => {
      // Nothing that a caller could use: it is there to be refused with a sentence.
      for (const [name, property] of Object.entries(jsonSchema.properties ?? {})) {
        if (typeof property === "object" && property.not !== undefined) delete jsonSchema.properties?.[name];
      }
      // The keys of JSON are strings.
      delete jsonSchema.propertyNames;
    },
  });
  return Object.fromEntries(
    Object.entries(schemas).map(([name, { $schema: _dialect, $id: _uri, ...schema }]) => [
      name,
      bodies.has(name) ? withNullable(schema) : schema,
    ]),
  );
}
