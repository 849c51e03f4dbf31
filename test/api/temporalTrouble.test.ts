import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { status as grpc } from "@grpc/grpc-js";
import { Client, Connection } from "@temporalio/client";
import { connectLossyClient, type LossyClient } from "../support/lossyTemporal.ts";
import { type PausableTemporal, startPausableTemporal } from "../support/pausableTemporal.ts";
import { testTemporal } from "../support/temporal.ts";
import { createChecker, type Route, readDocument, routesOf } from "./openapi/support.ts";
import { connectTestClient, startTestApi, type TestApi } from "./support.ts";

const env = {
  TEMPORAL_PAYLOAD_KEYS: `k1:${Buffer.alloc(32).toString("base64")}`,
  MODAL_TOKEN_ID: "id",
  MODAL_TOKEN_SECRET: "s",
};

interface Asked {
  route: Route;
  response: Response;
  code: string | undefined;
}

/** Asks every route that the document has, as its examples do, all at once. */
async function askEverything(api: TestApi): Promise<Asked[]> {
  const document = readDocument(await (await fetch(`${api.url}/openapi.json`)).json());
  const { checkAnswer } = createChecker(document);
  return await Promise.all(
    routesOf(document).map(async (route) => {
      const named = (path: string, { name, example }: { name: string; example?: unknown }) =>
        path.replace(`{${name}}`, encodeURIComponent(`${example ?? "x"}`));
      const path = (route.parameters ?? []).reduce(named, route.path);
      const [example] = Object.values(route.requestBody?.content["application/json"]?.examples ?? {});
      const headers = { "Content-Type": "application/json" };
      const body = example === undefined ? {} : { headers, body: JSON.stringify(example.value) };
      const response = await api.fetch(path, { method: route.method, ...body });
      const text = await response.clone().text();
      await checkAnswer(route, response);
      const code = response.status < 400 ? undefined : (JSON.parse(text) as { code: string }).code;
      return { route, response, code };
    }),
  );
}

/** What the answers were of the routes that cannot do without Temporal; none of the others is an error of the server. */
function codesOf(asked: readonly Asked[]): Set<string | undefined> {
  const needing = asked.filter(({ route }) => /temporal_unavailable/.test(JSON.stringify(route.responses["503"])));
  assert.ok(needing.length > 15, `${needing.length}`);
  for (const { route, response, code } of asked) {
    assert.notEqual(response.status, 500, route.operationId);
    if (response.status !== 503) continue;
    assert.match(response.headers.get("Retry-After") ?? "", /^\d+$/, `${route.operationId} ${code}`);
  }
  for (const { route, response } of needing) assert.equal(response.status, 503, route.operationId);
  return new Set(needing.map(({ code }) => code));
}

describe("Temporal in trouble", () => {
  describe("because the namespace is missing", () => {
    let client: Client;
    let api: TestApi;
    before(async () => {
      const { address } = await testTemporal();
      client = new Client({ connection: await Connection.connect({ address }), namespace: `missing-${randomUUID()}` });
      api = await startTestApi({ client, env });
    });
    after(async () => {
      await api.close();
      await client.connection.close();
    });

    it("is a 503 that says so, whatever is asked for", async () => {
      assert.deepEqual([...codesOf(await askEverything(api))], ["temporal_namespace_missing"]);
      const { missing } = (await (await fetch(`${api.url}/readyz`)).json()) as { missing: string[] };
      assert.deepEqual(missing, ["the namespace in Temporal is missing"]);
    });
  });

  describe("because the server accepts connections and says nothing", () => {
    let temporal: PausableTemporal;
    let api: TestApi;
    before(async () => {
      temporal = await startPausableTemporal();
      api = await startTestApi({ client: temporal.client, env });
    });
    after(async () => {
      temporal.resume();
      await api.close();
      await temporal.stop();
    });

    it("is a 503 that says so, whatever is asked for, and over when it is over", async () => {
      temporal.pause();
      // A drain is asked for without a look before it, and may have been heard.
      assert.deepEqual([...codesOf(await askEverything(api))].sort(), ["outcome_unknown", "temporal_unavailable"]);
      const { missing } = (await (await fetch(`${api.url}/readyz`)).json()) as { missing: string[] };
      assert.deepEqual(missing, ["Temporal cannot be reached"]);
      temporal.resume();
      assert.equal((await api.fetch("/jobs")).status, 200);
    });
  });

  describe("that it names", () => {
    let direct: Client;
    let lossy: LossyClient;
    let api: TestApi;
    before(async () => {
      const temporal = await connectTestClient();
      direct = temporal.client;
      lossy = await connectLossyClient(temporal.address, direct.options.namespace);
      api = await startTestApi({ client: lossy.client });
    });
    after(async () => {
      await api.close();
      await lossy.client.connection.close();
      await direct.connection.close();
    });

    for (const [code, expected] of [
      [grpc.CANCELLED, "temporal_unavailable"],
      [grpc.UNKNOWN, "temporal_unavailable"],
      [grpc.DEADLINE_EXCEEDED, "temporal_unavailable"],
      [grpc.PERMISSION_DENIED, "temporal_refused"],
      [grpc.RESOURCE_EXHAUSTED, "temporal_overloaded"],
      [grpc.FAILED_PRECONDITION, "temporal_unavailable"],
      [grpc.ABORTED, "temporal_unavailable"],
      [grpc.UNIMPLEMENTED, "temporal_unavailable"],
      [grpc.INTERNAL, "temporal_unavailable"],
      [grpc.UNAVAILABLE, "temporal_unavailable"],
      [grpc.DATA_LOSS, "temporal_unavailable"],
      [grpc.UNAUTHENTICATED, "temporal_refused"],
    ] as const) {
      it(`${grpc[code]} is a 503: ${expected}`, async () => {
        for (const [method, path] of [
          ["DescribeWorkflowExecution", `/status/${randomUUID()}`],
          ["DescribeWorkflowExecution", `/jobs/${randomUUID()}/events`],
          ["ListWorkflowExecutions", "/jobs"],
          ["ListWorkflowExecutions", "/gpus"],
        ] as const) {
          lossy.lose(method, 1, code);
          const response = await api.fetch(path);
          assert.equal(response.status, 503, path);
          assert.match(response.headers.get("Retry-After") ?? "", /^\d+$/);
          assert.equal(((await response.json()) as { code: string }).code, expected, path);
        }
      });
    }
  });
});
