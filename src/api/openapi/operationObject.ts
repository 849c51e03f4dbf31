import { z } from "zod";
import {
  type Answer,
  type Headers,
  ID,
  mergeRefusals,
  type Operation,
  type Parameter,
  refusalHeaders,
} from "./operation.ts";
import type { SchemaName } from "./schemas.ts";

/** Where a key is needed. */
const rateLimitHeaders: Headers = {
  "RateLimit-Limit": { description: "Requests that are allowed in a minute" },
  "RateLimit-Remaining": { description: "How many of them are left" },
  "RateLimit-Reset": { description: "Seconds until there are as many again" },
};

/** An operation in the words of OpenAPI. */
export function operationObject(operation: Operation) {
  const { operationId, tag, summary, description, open, body, answers, refusals = [] } = operation;
  const parameters = parametersOf(operation);
  const successes = Object.entries(answers).map(([status, answer]) => [status, responseObject(answer, open !== true)]);
  const errors = Object.entries(mergeRefusals(refusals)).map(([status, codes]) => [
    status,
    errorObject(Number(status), codes),
  ]);
  return {
    operationId,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    ...(open && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: {
        required: body.optional !== true,
        content: { "application/json": { schema: reference(body.schema), examples: examplesOf(body.examples) } },
      },
    }),
    responses: Object.fromEntries([...successes, ...errors]),
  };
}

function parametersOf({ parameters = [], query }: Operation) {
  return [...parameters, ...queryParameters(query)].map((parameter) => ({
    ...parameter,
    required: parameter.in === "path",
  }));
}

function queryParameters(query: z.ZodObject = z.object({})): Parameter[] {
  const { properties = {} } = z.toJSONSchema(query, { io: "input" });
  return Object.entries(properties).map(([name, property]) => {
    const { description = "", ...schema } = typeof property === "object" ? property : {};
    return { name, in: "query", description, schema };
  });
}

function examplesOf(examples: Record<string, object>) {
  return Object.fromEntries(Object.entries(examples).map(([name, value]) => [name, { value }]));
}

function responseObject({ description, schema, mediaType, example, headers = {} }: Answer, limited: boolean) {
  return {
    description,
    headers: headerObjects(limited ? { ...rateLimitHeaders, ...headers } : headers),
    ...(mediaType !== undefined && { content: { [mediaType]: example === undefined ? {} : { example } } }),
    ...(schema !== undefined && {
      content: { "application/json": { schema: reference(schema), ...(example && { example }) } },
    }),
  };
}

function errorObject(status: number, codes: Record<string, string>) {
  const [first = ["", ""]] = Object.entries(codes);
  const schema = { ...reference("Error"), properties: { code: { enum: Object.keys(codes) } } };
  const example = { error: first[1], code: first[0], request_id: ID };
  return {
    description: Object.entries(codes)
      .map(([code, when]) => `- \`${code}\`: ${when}`)
      .join("\n"),
    headers: headerObjects(refusalHeaders[status] ?? {}),
    content: { "application/json": { schema, example } },
  };
}

function headerObjects(headers: Headers) {
  const entries = Object.entries(headers).map(([name, { description, optional = false }]) => {
    return [name, { description, required: !optional, schema: { type: "string" } }] as const;
  });
  return Object.fromEntries(entries);
}

function reference(name: SchemaName) {
  return { $ref: `#/components/schemas/${name}` };
}
