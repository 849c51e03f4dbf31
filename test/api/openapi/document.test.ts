import assert from "node:assert/strict";
import { Validator } from "@seriousme/openapi-schema-validator";
import { openApiDocument } from "../../../src/api/openapi/document.ts";
import { loadConfig } from "../../../src/config/index.ts";
import { startTestApi, type TestApi } from "../support.ts";
import { codesOf, createChecker, type Described, type JsonSchema, readDocument, routesOf } from "./support.ts";

describe("the OpenAPI document", () => {
  let api: TestApi;
  let document: Described;
  before(async () => {
    api = await startTestApi({ env: { TEMPORAL_PAYLOAD_KEYS: `k1:${Buffer.alloc(32).toString("base64")}` } });
    document = readDocument(await (await fetch(`${api.url}/openapi.json`)).json());
  });
  after(() => api.close());

  it("is valid OpenAPI 3.1", async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate({ ...document });
    assert.ok(valid, JSON.stringify(errors));
    assert.equal(validator.version, "3.1");
  });

  it("describes the routes of the app, and no others, under each base path", () => {
    const described = routesOf(document).map(({ method, path }) => `${method} ${path}`);
    const routes = api.app.routes.filter(({ method }) => method !== "ALL");
    // Middleware of a single route is listed like the route itself.
    const served = (base: string) => [
      ...new Set(
        routes
          .filter(({ path }) => (path === "/api/v0" || path.startsWith("/api/v0/")) === (base !== ""))
          .map(({ method, path }) => `${method} ${inBraces(path.slice(base.length)) || "/"}`),
      ),
    ];
    assert.deepEqual(served("").sort(), described.sort());
    assert.deepEqual(served("/api/v0").sort(), described.sort());
    const ids = routesOf(document).map(({ operationId }) => operationId);
    assert.equal(new Set(ids).size, ids.length);
  });

  it("is in the form that generators of clients understand", async () => {
    const { components, paths, webhooks } = (await (await fetch(`${api.url}/openapi.json`)).json()) as Described;
    const parts = (schema: JsonSchema): JsonSchema[] => {
      const { properties = {}, items, additionalProperties, anyOf = [], oneOf = [] } = schema;
      const more = [items, additionalProperties].filter((part) => typeof part === "object") as JsonSchema[];
      return [...Object.values(properties), ...more, ...anyOf, ...oneOf].flatMap((part) => [part, ...parts(part)]);
    };
    for (const [name, schema] of Object.entries(components.schemas)) {
      const inside = parts(schema);
      for (const part of [schema, ...inside]) {
        const what = `${name}: ${JSON.stringify(part)}`;
        assert.ok(!["pattern", "default", "const", "not", "oneOf", "allOf"].some((word) => word in part), what);
        // Two of them, of which one is null: there is no other way to say it of a reference.
        if (part.anyOf !== undefined) assert.deepEqual([part.anyOf.length, part.anyOf[1]], [2, { type: "null" }], what);
      }
      for (const part of inside) {
        const what = `${name} has a part that should have a name: ${JSON.stringify(part)}`;
        const values = part.enum?.filter((value) => value !== null) ?? [];
        assert.ok(part.properties === undefined && values.length < 2, what);
      }
    }
    for (const operation of Object.values(paths).flatMap((methods) => Object.values(methods))) {
      const refusals = Object.entries(operation.responses).filter(([status]) => Number(status) >= 400);
      for (const [status, refusal] of refusals) assert.ok("$ref" in refusal, `${operation.operationId} ${status}`);
    }
    const tags = new Set(Object.values(paths).flatMap((methods) => Object.values(methods).flatMap(({ tags }) => tags)));
    for (const { post } of Object.values(webhooks)) assert.ok(!post.tags.some((tag) => tags.has(tag)));
  });

  it("says where the service is, as its reader reaches it", async () => {
    const serversOf = async (url: string) => readDocument(await (await fetch(url)).json()).servers;
    assert.deepEqual(await serversOf(`${api.url}/openapi.json`), [{ url: api.url }]);
    assert.deepEqual(await serversOf(`${api.url}/api/v0/openapi.json`), [{ url: `${api.url}/api/v0` }]);
    const published = await startTestApi({ env: { PUBLIC_URL: "https://example.com/render/" } });
    try {
      const servers = await serversOf(`${published.url}/api/v0/openapi.json`);
      assert.deepEqual(servers, [{ url: "https://example.com/render/api/v0" }]);
    } finally {
      await published.close();
    }
  });

  it("leaves out what is not served: links to files where a bucket serves them, the codec without keys", () => {
    const { paths } = readDocument(openApiDocument(loadConfig({}), { servesFiles: false }));
    assert.deepEqual(
      Object.keys(document.paths).filter((path) => !(path in paths)),
      ["/files/{key}", "/codec/decode", "/codec/encode"],
    );
  });

  it("says what this service takes: its defaults, its models, whether paths are allowed", () => {
    const env = { DEFAULT_MAX_TIME: "300", VISION_MODELS: "one,two", ALLOW_LOCAL_PATHS: "/srv" };
    const { schemas } = readDocument(openApiDocument(loadConfig(env), { servesFiles: true })).components;
    const usual = document.components.schemas;
    assert.match(schemas.SpeechSubmission?.properties?.max_time?.description ?? "", /Default: `300`$/);
    assert.match(usual.SpeechSubmission?.properties?.max_time?.description ?? "", /Default: `1200`$/);
    assert.deepEqual(schemas.VisionModel?.enum, ["one", "two"]);
    assert.ok(schemas.LipsyncSubmission?.properties?.audio_path);
    assert.ok(!usual.LipsyncSubmission?.properties?.audio_path);
  });

  it("says that every field of a submission that may be left out may be null, and no other", () => {
    const { schemas } = document.components;
    const bodies = routesOf(document).flatMap(
      ({ requestBody }) => requestBody?.content["application/json"]?.schema ?? [],
    );
    const names = new Set(bodies.map(({ $ref = "" }) => $ref.slice($ref.lastIndexOf("/") + 1)));
    for (const name of ["Payloads", "Replay", "Drain", "Resize", "MakeCurrent"])
      assert.ok(names.delete(name), "an operator's");
    assert.equal(names.size, 6);
    for (const name of names) {
      const { properties = {}, required = [] } = schemas[name] ?? {};
      for (const [field, { type, anyOf = [], enum: values }] of Object.entries(properties)) {
        const types = [type, ...anyOf.map((option) => option.type)].flat();
        assert.equal(types.includes("null"), !required.includes(field), `${name}.${field}`);
        if (values !== undefined) assert.equal(values.includes(null), !required.includes(field), `${name}.${field}`);
      }
    }
  });

  it("has answers and webhooks as examples that fit their schemas", () => {
    const { check } = createChecker(document);
    let examples = 0;
    for (const { method, path, responses } of routesOf(document)) {
      for (const [status, { content }] of Object.entries(responses)) {
        const json = content?.["application/json"];
        if (json?.example === undefined) continue;
        const at = ["paths", path, method.toLowerCase(), "responses", status, "content", "application/json", "schema"];
        check(at, json.example, `${method} ${path} ${status}`);
        examples += 1;
      }
    }
    for (const [name, { post }] of Object.entries(document.webhooks)) {
      const body = post.requestBody?.content["application/json"];
      for (const { value } of Object.values(body?.examples ?? {})) {
        check(["webhooks", name, "post", "requestBody", "content", "application/json", "schema"], value, name);
        examples += 1;
      }
    }
    assert.ok(examples > 40, `${examples}`);
  });

  it("says how it is while Temporal cannot be reached", async function () {
    this.timeout(60_000);
    const { checkAnswer } = createChecker(document);
    const asking = routesOf(document).filter(({ responses }) =>
      codesOf(responses["503"] ?? { description: "" }).some((code) => /temporal_unavailable|not_ready/.test(code)),
    );
    assert.ok(asking.length > 10, `${asking.length}`);
    await Promise.all(
      asking.map(async (route) => {
        const path = (route.parameters ?? []).reduce(
          (path, { name, example }) => path.replace(`{${name}}`, `${example}`),
          route.path,
        );
        const [example] = Object.values(route.requestBody?.content["application/json"]?.examples ?? {});
        const headers = { "Content-Type": "application/json" };
        const body = example === undefined ? {} : { headers, body: JSON.stringify(example.value) };
        const response = await api.fetch(path, { method: route.method, ...body });
        assert.equal(response.status, 503, route.operationId);
        await checkAnswer(route, response);
      }),
    );
  });

  it("is shown by a page of local files only, to everybody", async () => {
    for (const base of ["", "/api/v0"]) {
      const response = await fetch(`${api.url}${base}/docs`);
      assert.equal(response.status, 200);
      const policy = response.headers.get("Content-Security-Policy") ?? "";
      assert.doesNotMatch(policy, /unsafe|\*|https?:/);
      const html = await response.text();
      const names = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name = ""]) => name);
      assert.equal(names.length, 4);
      for (const name of names) {
        const file = await fetch(new URL(name, `${api.url}${base}/docs`));
        assert.equal(file.status, 200, name);
        assert.doesNotMatch(file.headers.get("Content-Type") ?? "", /json|html/, name);
        assert.ok((await file.arrayBuffer()).byteLength > 50, name);
      }
    }
    const other = await api.fetch("/docs/package.json");
    assert.equal(other.status, 404);
  });
});

/** `/files/:key{.+}` as the document writes it. */
function inBraces(path: string): string {
  return path.replace(/:(\w+)(\{[^}]*\})?/g, "{$1}");
}
