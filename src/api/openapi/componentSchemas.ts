import { z } from "zod";
import type { Config } from "../../config/index.ts";
import { bodySchemas } from "../../jobs/body.ts";
import { withNullable } from "./nullable.ts";
import { schemasOf } from "./schemas.ts";

type Schema = z.core.JSONSchema.BaseSchema;
type Change = (schema: Schema) => Schema;

const PREFIX = "#/components/schemas/";

/**
 * The schemas by their names, in the form that programs that write clients make most of. What they would read differently
 * from how it is meant is said in a description instead: it is the schemas themselves that requests are checked by.
 */
export function componentSchemas(config: Config): Record<string, Schema> {
  const registry = z.registry<{ id: string }>();
  const bodies = new Set<string>();
  for (const [id, schema] of Object.entries(schemasOf(config))) {
    registry.add(schema, { id });
    if (bodySchemas.has(schema)) bodies.add(id);
  }
  const { schemas } = z.toJSONSchema(registry, { io: "input", uri: (id) => `${PREFIX}${id}` });
  const tidied = Object.entries(schemas).map(([name, { $schema: _dialect, $id: _uri, ...schema }]) => {
    return [name, rewrite(schema, tidy)] as const;
  });
  const names = new Map(tidied.flatMap(([name, schema]) => (isShared(schema) ? [[keyOf(schema), name] as const] : [])));
  const refer: Change = (part) => withNull(named(part, names));
  return Object.fromEntries(
    tidied.map(([name, schema]) => {
      if (isShared(schema)) return [name, schema];
      const referring = rewrite(schema, refer);
      return [name, bodies.has(name) ? withNullable(referring) : referring];
    }),
  );
}

/** The schema of something that has no name, such as a parameter, and what is said of it. */
export function plainSchema(schema: z.core.JSONSchema._JSONSchema): { description: string; schema: Schema } {
  const { description = "", ...plain } = typeof schema === "object" ? rewrite(schema, tidy) : {};
  return { description, schema: plain };
}

/** Changes the parts of a schema, then itself. */
function rewrite(schema: Schema, change: Change): Schema {
  const changed = <T extends Schema | boolean>(part: T) => (typeof part === "object" ? rewrite(part, change) : part);
  const { properties, items, additionalProperties, anyOf, oneOf, allOf } = schema;
  return change({
    ...schema,
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([name, part]) => [name, changed(part)])),
    }),
    ...(items !== undefined && !Array.isArray(items) && { items: changed(items) }),
    ...(additionalProperties !== undefined && { additionalProperties: changed(additionalProperties) }),
    ...(anyOf && { anyOf: anyOf.map(changed) }),
    ...(oneOf && { oneOf: oneOf.map(changed) }),
    ...(allOf && { allOf: allOf.map(changed) }),
  });
}

function tidy({ pattern: _regex, propertyNames: _strings, default: initial, const: only, ...schema }: Schema): Schema {
  return withoutBounds({
    ...schema,
    ...(schema.properties && { properties: withoutRefused(schema.properties) }),
    ...(only !== undefined && { enum: [only] }),
    ...(initial !== undefined && initial !== "" && { description: withDefault(schema.description, initial) }),
  });
}

/** A property that is there only to be refused with a sentence is of no use to a caller. */
function withoutRefused(properties: NonNullable<Schema["properties"]>) {
  return Object.fromEntries(
    Object.entries(properties).filter(([, property]) => typeof property !== "object" || property.not === undefined),
  );
}

/** Said in words: of a `default` some make a field that must be sent, others one that is always sent. */
function withDefault(description: string | undefined, initial: unknown): string {
  const words = `Default: \`${typeof initial === "string" ? initial : JSON.stringify(initial)}\``;
  return description === undefined ? words : `${description}. ${words}`;
}

/** That a number is a safe integer of JavaScript says nothing; that it may not fit into 32 bits does. */
function withoutBounds({ minimum, maximum, ...schema }: Schema): Schema {
  const bounds = {
    ...(minimum !== undefined && minimum !== Number.MIN_SAFE_INTEGER && { minimum }),
    ...(maximum !== undefined && maximum !== Number.MAX_SAFE_INTEGER && { maximum }),
  };
  const isLarge = schema.type === "integer" && !("maximum" in bounds);
  return { ...schema, ...bounds, ...(isLarge && { format: "int64" }) };
}

/** Enumerations, and objects with any keys: the same ones in several places make one class, not many. */
function isShared(schema: Schema): boolean {
  return schema.properties === undefined && (schema.enum !== undefined || schema.additionalProperties !== undefined);
}

function keyOf({ type, enum: values, additionalProperties }: Schema): string {
  return JSON.stringify([type, values, additionalProperties]);
}

function named(schema: Schema, names: ReadonlyMap<string, string>): Schema {
  if (!isShared(schema)) return schema;
  const { description, ...shared } = schema;
  const said = description === undefined ? {} : { description };
  const nullable = Array.isArray(schema.type) && schema.type.includes("null");
  const name = names.get(keyOf(nullable ? withoutNull(shared) : shared));
  if (name === undefined) return schema;
  const reference = { $ref: `${PREFIX}${name}` };
  return nullable ? { anyOf: [reference, { type: "null" }], ...said } : { ...reference, ...said };
}

function withoutNull({ type, enum: values, ...schema }: Schema): Schema {
  const [only] = (Array.isArray(type) ? type : [type]).filter((one) => one !== "null");
  return { ...schema, ...(only && { type: only }), ...(values && { enum: values.filter((value) => value !== null) }) };
}

/** `null` as one more type, not as a schema of its own; beside a reference or an enumeration there is no other way. */
function withNull(schema: Schema): Schema {
  const { anyOf: [first, second, ...more] = [], ...rest } = schema;
  if (first?.type === "null" || second?.type !== "null" || more.length > 0) return schema;
  if (typeof first?.type !== "string" || first.enum !== undefined) return schema;
  return { ...first, ...rest, type: [first.type, "null"] };
}
