import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { promisify } from "node:util";
import type { Client } from "@temporalio/client";
import proto from "@temporalio/proto";
import { submitJob } from "../../src/api/jobs/submitJob.ts";
import { type Config, loadConfig } from "../../src/config/index.ts";
import { ids } from "../../src/contracts/names.ts";
import { csmSchema } from "../../src/jobs/kinds/csm.ts";
import { connectClient } from "../../src/temporal/connection.ts";
import { eventually } from "../support/eventually.ts";
import { temporalExecutable } from "../support/programs.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

const { History } = proto.temporal.api.history.v1;
const { DescribeWorkflowExecutionResponse } = proto.temporal.api.workflowservice.v1;

const aKey = () => randomBytes(32).toString("base64");
const [current, previous, lost] = [aKey(), aKey(), aKey()];
const TEXT = "Quartz sphinxes judge my vow.";
const REFERENCE_TEXT = "Zebras jog past quilts.";
const ORDER = "order-of-somebody-4711";

describe("a service that encrypts what it has in Temporal", () => {
  let stack: TestStack;
  before(async () => {
    const TEMPORAL_PAYLOAD_KEYS = `current:${current},previous:${previous}`;
    stack = await startTestStack({ env: { TEMPORAL_PAYLOAD_KEYS } });
  });
  after(() => stack.close());

  const hook = (name: string) => `${stack.simulator.url}/sim/hooks/${name}`;
  const told = (name: string) =>
    eventually(`the webhook ${name}`, () => stack.simulator.received(name).at(0)?.body as string | undefined);
  const clone = (referenceUrl: string, hookName: string) => ({
    text: TEXT,
    voice: "clone" as const,
    reference_audio_url: referenceUrl,
    reference_text: REFERENCE_TEXT,
    notify_url: `${hook(hookName)}?token=${ORDER}`,
    metadata: { order: ORDER },
  });

  it("does a job whose texts, URLs and results nobody finds in Temporal, not in its histories, memos or the CLI", async () => {
    const id = await stack.submit(clone(`${stack.simulator.url}/sim/files/voice.wav?signature=secret`, "secret"));
    await stack.untilState(id, "success");
    assert.equal(JSON.parse(await told("secret")).metadata.order, ORDER);
    const link = (await stack.get(`/result/${id}`)).body.result_url as string;
    assert.equal((await fetch(link)).status, 200);

    const stored = await everythingStored(stack.client);
    assert.ok(stored.includes("binary/encrypted"));
    const secrets = [TEXT, REFERENCE_TEXT, ORDER, "/sim/files", "voice.wav", "results/", "http://127.0.0.1"];
    assert.deepEqual(foundIn(stored, secrets), []);
    const shown = await shownByCli(stack.config, ids.job(id));
    assert.ok(shown.includes(ids.job(id)));
    assert.deepEqual(foundIn(shown, secrets), []);
  });

  it("hides why a job failed, and tells the caller", async () => {
    const id = await stack.submit(clone(`${stack.simulator.url}/sim/nothing-here.wav`, "failed"));
    await stack.untilState(id, "failed");
    const { error } = JSON.parse(await told("failed"));
    assert.match(error, /^reference_audio_url: /);
    const stored = await everythingStored(stack.client);
    assert.ok(stored.includes("Encoded failure"));
    assert.deepEqual(foundIn(stored, [error, "reference_audio_url", "nothing-here", "/src/"]), []);
  });

  it("shows the texts to who asks through the codec endpoint", async () => {
    const id = await stack.submit({ text: TEXT });
    await stack.untilState(id, "success");
    const { events } = await stack.client.workflow.getHandle(ids.job(id)).fetchHistory();
    const [input] = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads ?? [];
    const base64 = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString("base64");
    const metadata = Object.fromEntries(Object.entries(input?.metadata ?? {}).map(([key, v]) => [key, base64(v)]));
    const { body } = await stack.post("/codec/decode", { payloads: [{ metadata, data: base64(input?.data) }] });
    const [{ data }] = body.payloads as [{ data: string }];
    assert.equal(JSON.parse(atob(data)).job.input.monologue[0], TEXT);
    const shown = await shownByCli(stack.config, ids.job(id), "--codec-endpoint", `${stack.apiUrl}/codec`);
    assert.deepEqual(foundIn(shown, [TEXT]), [TEXT]);
  });

  for (const [start, keys] of [
    ["before anything was encrypted", undefined],
    ["with the key that was rotated out", `previous:${previous}`],
  ] as const) {
    it(`goes on with jobs that were started ${start}`, async () => {
      const id = await startBySomebodyElse(keys);
      await stack.untilState(id, "success");
      assert.equal((await stack.get(`/result/${id}`)).status, 200);
      if (keys === undefined) assert.deepEqual(foundIn(await everythingStored(stack.client), [TEXT]), [TEXT]);
    });
  }

  it("leaves a job alone whose key is missing, says so, and does the others", async () => {
    const id = await startBySomebodyElse(`lost:${lost}`, hook("unreadable"));
    const unreadable = stack.client.workflow.getHandle(ids.job(id));
    await eventually("the workflow task fails", async () => {
      const { events } = await unreadable.fetchHistory();
      return events?.some((event) => event.workflowTaskFailedEventAttributes) ? true : undefined;
    });
    const status = await stack.get(`/status/${id}`);
    assert.equal(status.status, 503);
    assert.equal(status.body.code, "job_unreadable");

    const other = await stack.submit();
    await stack.untilState(other, "success");
    assert.equal((await stack.get("/gpus")).status, 200);

    // The reconciler passes over what it cannot read.
    const waiting = await startBySomebodyElse(undefined, hook("terminated"), "no-such:pool");
    await stack.untilState(waiting, "queued");
    await unreadable.terminate();
    await stack.client.workflow.getHandle(ids.job(waiting)).terminate();
    assert.equal(JSON.parse(await told("terminated")).error, "Job was terminated by an operator");
    assert.deepEqual(stack.simulator.received("unreadable"), []);
  });

  /** A job from a process that has these keys. */
  async function startBySomebodyElse(keys: string | undefined, notifyUrl?: string, gpuType = "media:fast") {
    const { payloadKeys } = loadConfig({ TEMPORAL_PAYLOAD_KEYS: keys }).temporal;
    const config = { ...stack.config, temporal: { ...stack.config.temporal, payloadKeys } };
    const client = await connectClient(config);
    const times = { createdAt: Date.now(), completeBy: Date.now() + 3_600_000, maxTimeSeconds: 1200 };
    const rules = { maxTimeSeconds: 1200, completeInSeconds: 3600, maxTextChars: 1000 };
    const { input } = csmSchema(rules).parse({ text: TEXT });
    const [id, tenant, type, priority] = [randomUUID(), "default", "csm", "normal"] as const;
    const job = { id, type, tenant, priority, input, gpuType, ...times, ...(notifyUrl !== undefined && { notifyUrl }) };
    await submitJob({ client, config }, job);
    await client.connection.close();
    return id;
  }
});

/** What the server keeps of every workflow of the namespace, as it keeps it. */
async function everythingStored(client: Client): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const { workflowId, runId } of client.workflow.list()) {
    const handle = client.workflow.getHandle(workflowId, runId);
    parts.push(History.encode(await handle.fetchHistory()).finish());
    parts.push(DescribeWorkflowExecutionResponse.encode((await handle.describe()).raw).finish());
  }
  return Buffer.concat(parts).toString("latin1");
}

async function shownByCli({ temporal }: Config, workflowId: string, ...options: string[]): Promise<string> {
  const { address = "", namespace } = temporal;
  const workflow = ["--address", address, "--namespace", namespace, "--workflow-id", workflowId, ...options];
  const executable = await temporalExecutable();
  const run = promisify(execFile);
  const shown = [
    run(executable, ["workflow", "show", "--detailed", ...workflow]),
    run(executable, ["workflow", "show", "--output", "json", ...workflow]),
    run(executable, ["workflow", "describe", "--output", "json", ...workflow]),
  ];
  return (await Promise.all(shown)).map(({ stdout }) => stdout).join("\n");
}

/** Those of the secrets that are in the text, as they are or in base64, whatever they stand behind in it. */
function foundIn(text: string, secrets: readonly string[]): string[] {
  return secrets.filter((secret) => [secret, ...base64FormsOf(secret)].some((form) => text.includes(form)));
}

/** The part of the base64 that does not depend on the neighbours, for each of three places that bytes may start at. */
function base64FormsOf(secret: string): string[] {
  return [0, 1, 2].map((before) => {
    const encoded = Buffer.from("\0".repeat(before) + secret).toString("base64");
    return encoded.slice(before === 0 ? 0 : before + 1, Math.floor(((before + secret.length) * 8) / 6));
  });
}
