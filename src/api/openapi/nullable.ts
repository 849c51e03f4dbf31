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

/** One more type; beside a reference or an enumeration an alternative is what everybody understands. */
function nullable({ description, ...property }: JsonSchema): JsonSchema {
  const { type, ...rest } = property;
  const said = description === undefined ? {} : { description };
  if (property.$ref !== undefined || property.enum !== undefined)
    return { anyOf: [property, { type: "null" }], ...said };
  if (typeof type !== "string") throw new TypeError(`a field without a type: ${JSON.stringify(property)}`);
  return { ...rest, ...said, type: [type, "null"] };
}
