import type { z } from "zod";

type JsonSchema = z.core.JSONSchema.BaseSchema;

/** The schema of a body in which `null` says that a field is left out, as JSON Schema says it. */
export function withNullable(schema: JsonSchema): JsonSchema {
  const required = new Set(schema.required);
  const properties = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    return [name, typeof property === "boolean" || required.has(name) ? property : nullable(property)] as const;
  });
  return { ...schema, properties: Object.fromEntries(properties) };
}

/** One more type; beside a reference there is no other way than an alternative. */
function nullable(property: JsonSchema): JsonSchema {
  const { type, enum: values, $ref, description, ...rest } = property;
  if ($ref !== undefined) {
    return { anyOf: [{ $ref }, { type: "null" }], ...(description !== undefined && { description }) };
  }
  if (typeof type !== "string") throw new TypeError(`a field without a type: ${JSON.stringify(property)}`);
  return {
    ...rest,
    ...(description !== undefined && { description }),
    type: [type, "null"] as never,
    ...(values !== undefined && { enum: [...values, null] }),
  };
}
