import type { z } from "zod";

type JsonSchema = z.core.JSONSchema.JSONSchema;

/** The schema of a body in which `null` says that a field is left out, as JSON Schema says it. */
export function withNullable(schema: JsonSchema): JsonSchema {
  const required = new Set(schema.required);
  const properties = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    return [name, typeof property === "boolean" || required.has(name) ? property : nullable(property)] as const;
  });
  return { ...schema, properties: Object.fromEntries(properties) };
}

function nullable(property: JsonSchema): JsonSchema {
  const { type, enum: values, const: value, ...rest } = property;
  if (typeof type !== "string") throw new TypeError(`a field without a type: ${JSON.stringify(property)}`);
  const allowed = value === undefined ? values : [value];
  return { ...rest, type: [type, "null"] as never, ...(allowed !== undefined && { enum: [...allowed, null] }) };
}
