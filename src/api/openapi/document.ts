import type { Config } from "../../config/index.ts";
import { componentSchemas } from "./componentSchemas.ts";
import { ID, mergeRefusals, type Operation, refusalOf, tags } from "./operation.ts";
import {
  errorObject,
  headerObjects,
  operationObject,
  parameterObject,
  rateLimitHeaders,
  responseObject,
} from "./operationObject.ts";
import { codecOperations } from "./operations/codec.ts";
import { deliveryOperations } from "./operations/deliveries.ts";
import { gpuOperations } from "./operations/gpus.ts";
import { jobOperations } from "./operations/jobs.ts";
import { resultOperations } from "./operations/results.ts";
import { fileOperation, serviceOperations } from "./operations/service.ts";
import { submissionOperations } from "./operations/submissions.ts";
import { versionOperations } from "./operations/versions.ts";
import { webhooks } from "./webhooks.ts";

const DESCRIPTION = `Text, sound and pictures in; speech, transcripts, talking portraits, descriptions and lip-synced videos out.

A submission is answered with the id of a job. Ask for its status until it has ended, or let a webhook tell you; then fetch
the result. Unknown fields are ignored, and so are those that do not apply; in a submission \`null\`, and an empty text where no number is
wanted, say that a field is left out; numbers may be strings, and fractions of whole numbers are cut off. Every answer has an \`X-Request-Id\`: that of
the request, or a new one.`;

/**
 * The API as an OpenAPI 3.1 document, without its servers, which depend on who asks: its schemas are made from those that
 * validate, with this service's defaults.
 */
export function openApiDocument(config: Config, { servesFiles }: { servesFiles: boolean }) {
  const operations = [
    ...submissionOperations,
    ...jobOperations,
    ...resultOperations,
    ...(servesFiles ? [fileOperation] : []),
    ...deliveryOperations,
    ...gpuOperations,
    ...versionOperations,
    ...(config.temporal.payloadKeys.length > 0 ? codecOperations : []),
    ...serviceOperations,
  ];
  return {
    openapi: "3.1.1",
    info: { title: "c3-render", version: "v0", description: DESCRIPTION, license: { name: "MIT", identifier: "MIT" } },
    security: config.api.requiresKey ? [{ key: [] }, { bearer: [] }] : [],
    tags: tags.map((name) => ({ name })),
    paths: pathsOf(operations),
    webhooks,
    components: {
      schemas: componentSchemas(config),
      parameters: namedParameters(operations),
      responses: namedResponses(operations),
      headers: headerObjects(rateLimitHeaders),
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

function namedParameters(operations: readonly Operation[]) {
  const parameters = operations.flatMap((operation) => operation.parameters ?? []);
  return Object.fromEntries(
    parameters.flatMap((parameter) =>
      parameter.component === undefined ? [] : [[parameter.component, parameterObject(parameter)]],
    ),
  );
}

function namedResponses(operations: readonly Operation[]) {
  const answers = operations.flatMap((operation) => Object.values(operation.answers));
  const refusals = mergeRefusals(operations.flatMap((operation) => operation.refusals ?? []));
  return Object.fromEntries([
    ...answers.flatMap((answer) =>
      answer.component === undefined ? [] : [[answer.component, responseObject(answer)] as const],
    ),
    ...Object.entries(refusals).map(([status, codes]) => {
      return [refusalOf(Number(status)).name, errorObject(Number(status), codes, ID)] as const;
    }),
  ]);
}
