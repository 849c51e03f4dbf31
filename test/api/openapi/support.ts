import assert from "node:assert/strict";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

/** JSON Schema, as far as the tests look into it. */
export interface JsonSchema {
  $ref?: string;
  type?: string | string[];
  const?: unknown;
  description?: string;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  additionalProperties?: unknown;
  required?: string[];
  items?: JsonSchema;
  format?: string;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  maxLength?: number;
}

interface Content {
  "application/json"?: { schema: JsonSchema; example?: unknown; examples?: Record<string, { value: unknown }> };
}

export interface DescribedOperation {
  operationId: string;
  tags: string[];
  security?: object[];
  parameters?: { name: string; in: string; schema: JsonSchema; example?: unknown }[];
  requestBody?: { required: boolean; content: Content };
  responses: Record<
    string,
    { description: string; headers: Record<string, { required: boolean }>; content?: Content & Record<string, unknown> }
  >;
}

/** The document as others read it. */
export interface Described {
  servers: { url: string }[];
  paths: Record<string, Record<string, DescribedOperation>>;
  webhooks: Record<string, { post: DescribedOperation }>;
  components: { schemas: Record<string, JsonSchema> };
}

export interface Route extends DescribedOperation {
  method: string;
  path: string;
}

/** With everything but schemas in its place: a response's own description goes before that of what it refers to. */
export function readDocument(document: unknown): Described {
  const whole = JSON.parse(JSON.stringify(document)) as Described;
  const { schemas: _named, ...others } = whole.components;
  const components = others as Record<string, Record<string, object> | undefined>;
  const inPlace = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(inPlace);
    if (typeof value !== "object" || value === null) return value;
    const { $ref, ...rest } = value as { $ref?: string };
    const [, kind = "", name = ""] = /^#\/components\/(\w+)\/(.+)$/.exec($ref ?? "") ?? [];
    if ($ref !== undefined && kind !== "schemas") {
      const found = components[kind]?.[name];
      assert.ok(found, `${$ref} leads nowhere`);
      return inPlace({ ...found, ...rest });
    }
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, inPlace(part)]));
  };
  return inPlace(whole) as Described;
}

export function routesOf({ paths }: Described): Route[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, method: method.toUpperCase(), path })),
  );
}

/**
 * Checks values by the schemas of a document. A field that an answer's schema does not name is an error here, although
 * the document lets fields be added later.
 */
export function createChecker(document: Described) {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addFormat("base64", /^[A-Za-z0-9+/]*=*$/);
  ajv.addSchema({ ...closed(document), $id: "document" });
  const validators = new Map<string, ValidateFunction>();

  function check(pointer: string[], value: unknown, what: string): void {
    const path = pointer.map((part) => part.replaceAll("~", "~0").replaceAll("/", "~1")).join("/");
    const validate = validators.get(path) ?? ajv.compile({ $ref: `document#/${encodeURI(path)}` });
    validators.set(path, validate);
    assert.ok(validate(value), `${what}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value)}`);
  }

  return {
    check,
    /** That the answer is one of those that the document names for this operation. */
    async checkAnswer({ method, path, responses, operationId }: Route, response: Response): Promise<void> {
      const { status, headers } = response;
      const streams = headers.get("Content-Type")?.startsWith("text/event-stream");
      // One of a job that lives does not end.
      const text = streams ? await response.body?.cancel().then(() => "") : await response.text();
      const what = `${operationId} ${status} ${text?.slice(0, 500)}`;
      const described = responses[status];
      assert.ok(described, `${what} is not documented`);
      assert.ok(headers.has("X-Request-Id"), what);
      for (const [name, { required }] of Object.entries(described.headers)) {
        assert.ok(headers.has(name) || !required, `${what} has no ${name}`);
      }
      if (described.content === undefined) return assert.equal(text, "", what);
      if (!("application/json" in described.content)) {
        const types = Object.keys(described.content);
        assert.ok(
          types.some((type) => type === "*/*" || headers.get("Content-Type")?.startsWith(type)),
          what,
        );
        return;
      }
      assert.match(headers.get("Content-Type") ?? "", /^application\/json/, what);
      const json = ["paths", path, method.toLowerCase(), "responses", `${status}`, "content", "application/json"];
      const body = JSON.parse(text ?? "") as { code?: string };
      check([...json, "schema"], body, what);
      if (status >= 400) assert.ok(codesOf(described).includes(body.code ?? ""), `${what}: its code is not documented`);
    },
  };
}

/** The codes of an error, which its description lists. */
export function codesOf({ description }: { description: string }): string[] {
  return [...description.matchAll(/^- `(\w+)`:/gm)].map(([, code = ""]) => code);
}

function closed<T>(value: T): T {
  if (Array.isArray(value)) return value.map(closed) as T;
  if (typeof value !== "object" || value === null) return value;
  const copy = Object.fromEntries(Object.entries(value).map(([key, part]) => [key, closed(part)]));
  const open = "type" in copy && copy.type === "object" && "properties" in copy && !("additionalProperties" in copy);
  return (open ? { ...copy, additionalProperties: false } : copy) as T;
}
