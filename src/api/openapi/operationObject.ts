import { z } from "zod";
import { plainSchema } from "./componentSchemas.ts";
import { type Answer, type Headers, mergeRefusals, type Operation, type Parameter, refusalOf } from "./operation.ts";
import type { SchemaName } from "./schemas.ts";

/** Where a key is needed; among the components. */
export const rateLimitHeaders: Headers = {
  "RateLimit-Limit": { description: "Requests that are allowed in a minute" },
  "RateLimit-Remaining": { description: "How many of them are left" },
  "RateLimit-Reset": { description: "Seconds until there are as many again" },
};

/** An operation in the words of OpenAPI. */
export function operationObject(operation: Operation) {
  const { operationId, tag, summary, description, open, body, answers, refusals = [] } = operation;
  const parameters = [...(operation.parameters ?? []), ...queryParameters(operation)];
  const successes = Object.entries(answers).map(([status, answer]) => [
    status,
    answer.component === undefined
      ? responseObject(answer, open)
      : referenceTo("responses", answer.component, answer.description),
  ]);
  const errors = Object.entries(mergeRefusals(refusals)).map(([status, codes]) => [
    status,
    referenceTo("responses", refusalOf(Number(status)).name, listOf(codes)),
  ]);
  return {
    operationId,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    ...(open && { security: [] }),
    ...(parameters.length > 0 && {
      parameters: parameters.map((parameter) =>
        parameter.component === undefined ? parameterObject(parameter) : referenceTo("parameters", parameter.component),
      ),
    }),
    ...(body && {
      requestBody: {
        required: body.optional !== true,
        content: {
          "application/json": { schema: referenceTo("schemas", body.schema), examples: examplesOf(body.examples) },
        },
      },
    }),
    responses: Object.fromEntries([...successes, ...errors]),
  };
}

export function parameterObject({ component: _name, ...parameter }: Parameter) {
  return { ...parameter, required: parameter.in === "path" };
}

function queryParameters({ query = z.object({}) }: Operation): Parameter[] {
  const { properties = {} } = z.toJSONSchema(query, { io: "input" });
  return Object.entries(properties).map(([name, property]) => ({ name, in: "query", ...plainSchema(property) }));
}

function examplesOf(examples: Record<string, object>) {
  return Object.fromEntries(Object.entries(examples).map(([name, value]) => [name, { value }]));
}

/** @param open whether it is had without a key, and without limits */
export function responseObject({ description, schema, mediaType, example, headers = {} }: Answer, open = false) {
  const limits = Object.keys(rateLimitHeaders).map((name) => [name, referenceTo("headers", name)]);
  return {
    description,
    headers: { ...(!open && Object.fromEntries(limits)), ...headerObjects(headers) },
    ...(mediaType !== undefined && { content: contentOf(mediaType, example) }),
    ...(schema !== undefined && {
      content: { "application/json": { schema: referenceTo("schemas", schema), ...(example && { example }) } },
    }),
  };
}

/** Not everybody knows what to do with a file of any kind. */
function contentOf(mediaType: string, example: Answer["example"]) {
  // A schema would be of each event, and version 3.1 has no way to say of what.
  if (mediaType === "text/event-stream") return { [mediaType]: { ...(example && { example }) } };
  if (mediaType !== "*/*") return { [mediaType]: { schema: { type: "string" }, ...(example && { example }) } };
  const schema = { type: "string", format: "binary" };
  return { "application/octet-stream": { schema }, "*/*": { schema } };
}

/** Every error of a status, whatever operation it is of. */
export function errorObject(status: number, codes: Record<string, string>, requestId: string) {
  const { description, headers = {} } = refusalOf(status);
  const [[code, error] = ["", ""]] = Object.entries(codes);
  return {
    description: `${description}:\n\n${listOf(codes)}`,
    headers: headerObjects(headers),
    content: {
      "application/json": { schema: referenceTo("schemas", "Error"), example: { error, code, request_id: requestId } },
    },
  };
}

function listOf(codes: Record<string, string>): string {
  return Object.entries(codes)
    .map(([code, when]) => `- \`${code}\`: ${when}`)
    .join("\n");
}

export function headerObjects(headers: Headers) {
  const entries = Object.entries(headers).map(([name, { description, optional = false }]) => {
    return [name, { description, required: !optional, schema: { type: "string" } }] as const;
  });
  return Object.fromEntries(entries);
}

function referenceTo(kind: "schemas", name: SchemaName): object;
function referenceTo(kind: "responses" | "parameters" | "headers", name: string, description?: string): object;
function referenceTo(kind: string, name: string, description?: string) {
  return { $ref: `#/components/${kind}/${name}`, ...(description !== undefined && { description }) };
}
