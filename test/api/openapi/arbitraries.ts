import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import type { Described, JsonSchema, Route } from "./support.ts";

/** A request that `fetch` can send. */
export interface GeneratedRequest {
  operationId: string;
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string | Uint8Array<ArrayBuffer> | undefined;
}

/** Values that have broken services before. */
const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(
    ...[null, true, -1, -0, 0.5, 1e308, Number.MAX_SAFE_INTEGER, "", " ", "\u0000", "\ud800", "🦄", "NaN", "Infinity"],
    ...["1e3", "0x10", "../../etc/passwd", "%00", "%E0%A4%A", "'; DROP TABLE jobs; --", "<script>alert(1)</script>"],
    ...["http://127.0.0.1/", "http://[::1]/", "http://2130706433/", "javascript:alert(1)", "http://", "https://a b/"],
    ...["https://user:password@example.com/?token=t#f", `https://example.com/${"a".repeat(3000)}`, "a".repeat(5000)],
    ...[[], {}, [[]], [null], [""], Array(300).fill("a"), { length: 1e9 }, { toString: 1 }, { toJSON: "a" }],
    JSON.parse('{"__proto__": {"status": "success"}, "constructor": {"prototype": 1}}'),
    JSON.parse(`${"[".repeat(3000)}${"]".repeat(3000)}`),
  ),
  fc.jsonValue(),
);
/** Some are years that have five figures, or a sign. */
const times = fc.oneof(
  { weight: 2, arbitrary: fc.date({ min: new Date(0), noInvalidDate: true }).map((date) => date.toISOString()) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...["0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+23:59"],
      ...[
        "9999-12-31T23:59:59.999Z",
        "9999-12-31T23:59:59-23:59",
        "+010000-01-01T00:00:00Z",
        "-000001-01-01T00:00:00Z",
      ],
      ...["+275760-09-13T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2016-12-31T23:59:60Z", "NaN"],
      ...["2262-04-12T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", `2026-01-01T00:00:00.${"9".repeat(1000)}Z`],
    ),
  },
);
/** Numbers at the edges of what there is, as they are written: `JSON.stringify` would not write some of them. */
const extremes = [
  ...["-0", "1e21", "1e400", "-1e400", "1e-400", "9007199254740993", "12345678901234567890", "-12345678901234567890"],
  ...["0.1", "5e-324", "1.7976931348623157e308", "1E+2", "9".repeat(400), `0.${"3".repeat(400)}`],
];
const url = fc.webUrl({ validSchemes: ["http", "https"], withQueryParameters: true });

/** What is needed beside what is required, one of each: the document says it in words. */
const alternatives: Record<string, string[][]> = {
  SpeechSubmission: [["text"], ["monologue"]],
  LipsyncSubmission: [
    ["video_url", "audio_url"],
    ["image_url", "audio_url"],
  ],
};

/** Values of a schema, with a hostile one in some places. */
function valuesOf(schema: JsonSchema, { schemas }: Described["components"]): fc.Arbitrary<unknown> {
  const referred = schema.$ref?.slice("#/components/schemas/".length);
  if (referred !== undefined) {
    const named = schemas[referred]!;
    return named.type === "object" ? objects(named, { schemas }, alternatives[referred]) : valuesOf(named, { schemas });
  }
  const options = schema.anyOf ?? (schema.type === undefined ? schema.oneOf : undefined);
  if (options !== undefined) return fc.oneof(...options.map((option) => valuesOf(option, { schemas })));
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (Array.isArray(schema.type)) {
    const [type = "null", ...further] = schema.type;
    const ofType = (one: string) => valuesOf({ ...schema, type: one }, { schemas });
    return fc.oneof({ weight: 5, arbitrary: ofType(type) }, ...further.map(ofType));
  }
  const { minimum: min = -1e6, maximum: max = 1e6, minItems: minLength = 0, maxItems: maxLength = 5 } = schema;
  switch (schema.type) {
    case "object":
      return objects(schema, { schemas });
    case "array":
      return fc.array(valuesOf(schema.items ?? {}, { schemas }), { minLength, maxLength: Math.min(maxLength, 5) });
    case "integer":
      return fc.oneof(fc.integer({ min, max }), fc.integer({ min, max }).map(String));
    case "number":
      return fc.double({ min, max, noNaN: true });
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "string":
      if (schema.format === "base64") return fc.base64String();
      if (schema.format === "date-time") return times;
      return schema.format === "uri" ? url : fc.string({ maxLength: Math.min(schema.maxLength ?? 40, 40) });
    default:
      return fc.jsonValue();
  }
}

/** All that is required, some of the rest, and now and then something else in the place of a field. */
function objects(
  { properties, required = [] }: JsonSchema,
  components: Described["components"],
  choices: string[][] = [[]],
): fc.Arbitrary<unknown> {
  if (properties === undefined) return fc.dictionary(fc.string({ maxLength: 20 }), fc.jsonValue(), { maxKeys: 5 });
  return fc.constantFrom(...choices).chain((further: string[]) => {
    const excluded = new Set(choices.flat().filter((name) => !further.includes(name)));
    const names = Object.keys(properties);
    const wanted = names.filter((name) => !excluded.has(name));
    const values = wanted.map((name) => [name, valuesOf(properties[name]!, components)] as const);
    const requiredKeys = [...required, ...further].filter((name) => wanted.includes(name));
    const fields: fc.Arbitrary<Record<string, unknown>> = fc.record(Object.fromEntries(values), { requiredKeys });
    const spoilt = fc
      .tuple(fields, fc.constantFrom(...names), hostile)
      .map(([object, name, value]) => ({ ...object, [name]: value }));
    return fc.oneof({ weight: 3, arbitrary: fields }, { weight: 1, arbitrary: spoilt });
  });
}

const noJson = fc.constantFrom(
  "",
  "{",
  '{"text":',
  "null",
  "[]",
  "1",
  '"text"',
  "text=a",
  '{"a": NaN}',
  "\u0000",
  "{}{}",
);
const tooLarge = fc.constant(JSON.stringify({ text: "a".repeat(30_000) }));
const contentTypes = fc.oneof(
  { weight: 15, arbitrary: fc.constantFrom("application/json", "application/json; charset=utf-8") },
  { weight: 1, arbitrary: fc.constantFrom("text/plain", "application/jsonx", "multipart/form-data", "*/*", "") },
);

/** Some fields say nothing: programs send all that they know. */
function withNothing(value: unknown): fc.Arbitrary<unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return fc.constant(value);
  return fc
    .tuple(fc.subarray(Object.keys(value)), fc.constantFrom(null, ""))
    .map(([names, nothing]) => ({ ...value, ...Object.fromEntries(names.map((name) => [name, nothing])) }));
}

/** A number at the edge, in the place of one that is there, in `metadata`, or in any field. */
function withExtreme(value: unknown): fc.Arbitrary<string> {
  const text = JSON.stringify(value) ?? "null";
  if (typeof value !== "object" || value === null || Array.isArray(value)) return fc.constant(text);
  const places = fc.constantFrom("metadata", ...Object.keys(value));
  return fc.tuple(places, fc.constantFrom(...extremes)).map(([name, number]) => {
    const written = name === "metadata" ? '{"n":["@"],"@":"@"}' : '"@"';
    const whole = JSON.stringify({ ...value, [name]: "@" });
    return whole.replace('"@"', () => written).replace('"@"', () => number);
  });
}

type Body = Pick<GeneratedRequest, "body" | "headers">;
const plain = (body: string | undefined): Body => ({ body, headers: {} });

const bomb = gzipSync(Buffer.alloc(1_000_000, " "));
/** The bytes of a text, as they are or not: in other encodings, compressed, broken off. */
const forms: ((text: string) => Buffer)[] = [
  (text) => Buffer.from(text),
  (text) => Buffer.from(`\ufeff${text}`),
  (text) => Buffer.from(`\ufeff${text}`, "utf16le"),
  (text) => Buffer.from(text, "latin1"),
  (text) => Buffer.concat([Buffer.from(text), Buffer.from([0xff])]),
  () => Buffer.from([0xc0, 0xaf]),
  () => Buffer.alloc(0),
  (text) => gzipSync(text),
  (text) => deflateSync(text),
  (text) => deflateRawSync(text),
  (text) => brotliCompressSync(text, quick),
  (text) => gzipSync(gzipSync(text)),
  (text) => gzipSync(text).subarray(0, -5),
  (text) => gzipSync(Buffer.concat([Buffer.from(text), Buffer.from([0x80])])),
  () => bomb,
];
const quick = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } };
const said = [undefined, "gzip", "deflate", "br", "gzip, gzip", "identity", "zstd", "", "gzip;q=0", "__proto__"];
const fitting = [
  { form: (text: string) => gzipSync(text), encoding: "gzip" },
  { form: (text: string) => brotliCompressSync(text, quick), encoding: "br" },
  { form: (text: string) => deflateRawSync(text), encoding: "deflate" },
];

/** A text as bytes that are what they are said to be, or something else. */
function bytesOf(text: string): fc.Arbitrary<Body> {
  const any = fc.record({ form: fc.constantFrom(...forms), encoding: fc.constantFrom(...said) });
  const chosen = fc.oneof({ weight: 1, arbitrary: fc.constantFrom(...fitting) }, { weight: 3, arbitrary: any });
  return chosen.map(({ form, encoding }) => ({
    body: new Uint8Array(form(text)),
    headers: encoding === undefined ? {} : { "Content-Encoding": encoding },
  }));
}

function bodiesOf(route: Route, components: Described["components"]): fc.Arbitrary<Body> {
  return textsOf(route, components).chain((text) =>
    text === undefined
      ? fc.constant(plain(undefined))
      : fc.oneof({ weight: 6, arbitrary: fc.constant(plain(text)) }, { weight: 1, arbitrary: bytesOf(text) }),
  );
}

function textsOf({ requestBody }: Route, components: Described["components"]): fc.Arbitrary<string | undefined> {
  const json = requestBody?.content["application/json"];
  if (json === undefined) return fc.constant(undefined);
  const values = valuesOf(json.schema, components);
  const fitting = values.map((value) => JSON.stringify(value));
  return fc.oneof(
    { weight: 20, arbitrary: fitting },
    { weight: 2, arbitrary: values.chain(withNothing).map((value) => JSON.stringify(value)) },
    { weight: 2, arbitrary: values.chain(withExtreme) },
    { weight: 1, arbitrary: noJson },
    { weight: 1, arbitrary: hostile.map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: tooLarge },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
}

/** In a path or a query: anything that can be written there, and half of it not well. */
const segments = fc.oneof(
  fc.string({ unit: "binary", minLength: 1, maxLength: 30 }).map(encodeURIComponent),
  fc.constantFrom(
    "%00",
    "%2e%2e%2f",
    "%E0%A4%A",
    "%",
    "*",
    ":id",
    "{id}",
    "__proto__",
    "constructor",
    "a".repeat(3000),
  ),
  fc.constantFrom(...["true", "True", "yes", "NaN", "-1", "1e999", "9".repeat(400), "8640000000000001", "0x10", "1.5"]),
);
/** Cursors of times that nobody has seen, and of none. */
const cursors = fc
  .constantFrom(
    -1,
    0,
    1.5,
    null,
    1e300,
    8.64e15,
    253_402_300_799_999,
    253_402_300_800_000,
    Number.MAX_SAFE_INTEGER,
    "1",
  )
  .chain((at) => fc.constantFrom([at, "id"], [at], [at, "id", 1], { 0: at, 1: "id" }, [at, "'; DROP TABLE jobs; --"]))
  .map((position) => Buffer.from(JSON.stringify(position)).toString("base64url"));

const headerValues = fc.oneof(
  fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 300 }),
  fc.constantFrom(
    "Bearer",
    "Bearer a b",
    "-1",
    "bytes=0-0",
    "bytes=1-2",
    "bytes=5-1",
    "bytes=99-",
    "bytes=-",
    "\u00e9",
    "a".repeat(2000),
  ),
);

/** What leads somewhere. */
export interface Known {
  /** Of an administrator, and of others. */
  keys: [admin: string, ...users: string[]];
  /** Values of parameters that lead somewhere, by operation and name; by name for all other operations. */
  values: Record<string, fc.Arbitrary<string>>;
}

/** Requests of every operation, valid and not. */
export function requestsOf(document: Described, routes: Route[], known: Known): fc.Arbitrary<GeneratedRequest> {
  return fc.oneof(...routes.map((route) => requestOf(route, document, known)));
}

/** A segment such as `..` makes it the path of something else. */
function leadsTo({ path }: Route, requested: string): boolean {
  const pattern = path.replaceAll("/{key}", "/.+").replace(/\{\w+\}/g, "[^/]+");
  const base = requested.startsWith("/api/v0") ? "/api/v0" : "";
  return new RegExp(`^${base}${pattern}$`).test(new URL(requested, "http://localhost").pathname);
}

function requestOf(
  route: Route,
  { components }: Described,
  { keys: [admin, ...users], values }: Known,
): fc.Arbitrary<GeneratedRequest> {
  const parameters = route.parameters ?? [];
  const choicesOf = (name: string, schema: JsonSchema) =>
    fc.oneof(
      ...(name === "cursor" ? [{ weight: 8, arbitrary: cursors }] : []),
      { weight: 10, arbitrary: values[`${route.operationId} ${name}`] ?? values[name] ?? segments },
      { weight: 1, arbitrary: segments },
      { weight: 1, arbitrary: valuesOf(schema, components).map((value) => encodeURIComponent(String(value))) },
    );
  const headersOf = (name: string) =>
    fc.oneof(
      { weight: name.startsWith("If-") ? 9 : 1, arbitrary: values[name] ?? headerValues },
      { weight: 1, arbitrary: headerValues },
    );
  const ofKind = (kind: string, required: boolean) => {
    const named = parameters.filter((parameter) => parameter.in === kind);
    const entries = named.map(({ name, schema }) => [
      name,
      kind === "header" ? headersOf(name) : choicesOf(name, schema),
    ]);
    const record = Object.fromEntries(entries) as Record<string, fc.Arbitrary<string>>;
    const all = fc.record(record);
    if (required) return all;
    return fc.oneof({ weight: 2, arbitrary: all }, { weight: 1, arbitrary: fc.record(record, { requiredKeys: [] }) });
  };
  const keys = fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom({ "X-C3-RENDER-KEY": admin }, { Authorization: `Bearer ${admin}` }) },
    { weight: 2, arbitrary: fc.constantFrom(...users).map((user) => ({ Authorization: `Bearer ${user}` })) },
    // A key of each kind at once, of which the first one that is right counts.
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom("", "wrong", admin, ...users), fc.constantFrom("wrong", ...users))
        .map(([own, bearer]) => ({ "X-C3-RENDER-KEY": own, Authorization: `Bearer ${bearer}` })),
    },
    { weight: 1, arbitrary: headerValues.map((value) => ({ Authorization: value })) },
    { weight: 1, arbitrary: headerValues.map((value) => ({ "X-C3-RENDER-KEY": value })) },
    { weight: 1, arbitrary: fc.constant({}) },
  );
  return fc
    .record({
      base: fc.constantFrom("", "/api/v0"),
      path: ofKind("path", true),
      query: ofKind("query", false),
      described: ofKind("header", false),
      further: fc.record({ "X-Request-Id": headerValues, Accept: headerValues }, { requiredKeys: [] }),
      keys,
      contentType: contentTypes,
      body: bodiesOf(route, components),
    })
    .map(({ base, path, query, described, further, keys, contentType, body: { body, headers: encoding } }) => {
      const filled = route.path.replace(/\{(\w+)\}/g, (_, name) => path[name] ?? "");
      const search = Object.entries(query).map(([name, value]) => `${name}=${value}`);
      return {
        operationId: route.operationId,
        method: route.method,
        path: `${base}${filled}${search.length === 0 ? "" : `?${search.join("&")}`}`,
        headers: {
          ...{ ...further, ...described, ...keys, ...encoding },
          ...(body !== undefined && { "Content-Type": contentType }),
        },
        body,
      };
    })
    .filter((request) => leadsTo(route, request.path));
}
