import { z } from "zod";
import { numberFields } from "./fields.ts";

/** What may be sent for a body: `null` where a field may be left out. */
type Sent<T> = { [K in keyof T]: undefined extends T[K] ? T[K] | null : T[K] };
type Fields = Record<string, unknown>;

/** Bodies in which `null` says that a field is left out; for whoever describes them. */
export const bodySchemas = z.registry<{ nullMeansLeftOut: true }>();

/**
 * A JSON body. `null` says that a field is left out, and so does an empty text, except where a number is wanted: programs
 * send all their fields, with nothing in those that they have no value for.
 * @param fields each by its name
 * @param checked what is checked further, and made of it
 * @param prepare takes away what does not apply beside the other fields, before anything is checked
 */
export function bodySchema<F extends z.core.$ZodShape, T extends z.ZodType<unknown, z.input<z.ZodObject<F>>>>(
  fields: F,
  checked: (object: z.ZodObject<F>) => T,
  prepare: (given: Fields) => Fields = (given) => given,
) {
  const numbers = new Set(Object.keys(fields).filter((name) => isNumber(fields[name])));
  const says = ([name, value]: [string, unknown]) =>
    value !== undefined && value !== null && (value !== "" || numbers.has(name));
  const given = (body: unknown) => {
    if (typeof body !== "object" || body === null || Array.isArray(body)) return body;
    return prepare(Object.fromEntries(Object.entries(body).filter(says)));
  };
  const schema = z.preprocess<unknown, T, Sent<z.input<T>>>(given, checked(z.object(fields)));
  bodySchemas.add(schema, { nullMeansLeftOut: true });
  return schema;
}

function isNumber(field: z.core.$ZodType | undefined): boolean {
  return field !== undefined && numberFields.get(field) !== undefined;
}
