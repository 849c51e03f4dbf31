import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client as TemporalClient } from "@temporalio/client";
import { ids } from "../../src/contracts/names.ts";
import { type Client, createClient } from "../../src/sdk/index.ts";
import { connectTestClient, KEY, startTestApi, type TestApi } from "../api/support.ts";
import { eventually } from "../support/eventually.ts";
import { type } from "./support.ts";

describe("the command", () => {
  let temporal: TemporalClient;
  let api: TestApi;
  let client: Client;
  let folder: string;
  before(async () => {
    ({ client: temporal } = await connectTestClient());
    api = await startTestApi({ client: temporal });
    client = createClient({ baseUrl: api.url, apiKey: KEY });
    folder = await mkdtemp(join(tmpdir(), "c3-render-cli-"));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
    await api.close();
    await temporal.connection.close();
  });

  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await type(client, [...args, "--json"]);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };

  it("lists the versions of the workers, of which there may be none", async () => {
    assert.equal((await type(client, ["versions"])).stdout, "no version was announced\n");
    assert.deepEqual(await json("versions"), { current: null, versions: [] });
    const back = await type(client, ["versions", "--roll-back"]);
    assert.deepEqual(
      [back.code, back.stderr],
      [2, "--roll-back: no other version was ever current\n(--help says how it is used)\n"],
    );
    const unknown = await type(client, ["versions", "--make-current", "0.0.0-none"]);
    assert.match(unknown.stderr, /No worker has announced this version/);
  });

  it("submits a job by fields and JSON, says how it is, and cancels it", async () => {
    const body = JSON.stringify({ metadata: { order: 7 }, topk: 1 });
    const { id } = await json("submit", "csm", "text=a=b", "topk=20", "--body", body);
    assert.deepEqual(await json("status", id), { id, status: "queued", progress: null });
    const job = await json("job", id);
    assert.deepEqual([job.type, job.metadata], ["csm", { order: 7 }]);
    const listed = await eventually("it is listed", async () => {
      const page = await json("list", "type=csm", "limit=1");
      return page.jobs.length > 0 ? page : undefined;
    });
    assert.equal(listed.jobs[0].id, id);
    assert.match(
      (await type(client, ["list", "type=csm"])).stdout,
      new RegExp(`^id .*created_at\\n${id}  csm +queued`),
    );
    assert.match((await type(client, ["status", id])).stdout, /^id {6}[0-9a-f-]{36}\nstatus {2}queued\n$/);
    assert.deepEqual(await json("deliveries", id), { id, deliveries: [] });
    assert.match((await type(client, ["deliveries", id])).stdout, /deliveries {2}none\n$/);
    const cancelled = await type(client, ["cancel", id]);
    assert.deepEqual(cancelled, { code: 0, stdout: `Job ${id} will be marked as cancelled\n`, stderr: "" });
    assert.match((await json("remove", id)).message, /and data removed$/);
    for (const workflowId of [ids.job(id), ids.removal(id)]) await temporal.workflow.getHandle(workflowId).terminate();
  });

  it("takes fields from files and from the standard input", async () => {
    const file = async (name: string, content: string | Buffer) => {
      await writeFile(join(folder, name), content);
      return `@${join(folder, name)}`;
    };
    const submitted = async (args: string[], stdin?: string) => {
      const { stdout, stderr } = await type(client, ["submit", ...args], stdin === undefined ? {} : { stdin });
      assert.equal(stderr, "");
      const handle = temporal.workflow.getHandle(ids.job(stdout.trim()));
      const { metadata } = await client.job(stdout.trim());
      const [event] = (await handle.fetchHistory()).events ?? [];
      const payload = event?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
      await handle.terminate();
      return { metadata, input: JSON.parse(Buffer.from(payload ?? []).toString()).job.input };
    };
    const text = await file("speech.txt", "\ufeffHello from a file.\n");
    const metadata = await file("m.json", '{"a": [1, {"b": null}]}');
    const first = await submitted(["csm", `text=${text}`, `metadata=${metadata}`]);
    assert.deepEqual([first.input.monologue, first.metadata], [["Hello from a file."], { a: [1, { b: null }] }]);
    const lines = await file("lines.txt", "First this.\n\nThen that.\r\n");
    assert.deepEqual((await submitted(["csm", `monologue=${lines}`])).input.monologue, ["First this.", "Then that."]);
    const items = ["monologue=First.", 'monologue=["Second.", "Third."]'];
    assert.deepEqual((await submitted(["csm", ...items])).input.monologue, ["First.", "Second.", "Third."]);
    assert.deepEqual((await submitted(["csm", "text=@@home"])).input.monologue, ["@home"]);
    assert.deepEqual((await submitted(["csm", "text=-"], "Said in.\n")).input.monologue, ["Said in."]);
    assert.deepEqual((await submitted(["csm", "--body", "-"], '{"text": "As JSON."}')).input.monologue, ["As JSON."]);

    const refused = async (args: string[], sentence: RegExp) => {
      const { code, stderr } = await type(client, ["submit", "csm", ...args]);
      assert.equal(code, 2);
      assert.match(stderr, sentence);
    };
    await refused(
      ["text=@nowhere.txt"],
      /^text: nowhere.txt cannot be read \(ENOENT\); a text that begins with @ is written @@$/m,
    );
    await refused([`text=${await file("bytes", Buffer.from([0xff, 0xfe]))}`], /is not a text in UTF-8$/m);
    await refused([`metadata=${text}`], /^metadata: is not JSON: /);
    await refused(["text=-", "reference_text=-"], /can be read only once$/m);
    await refused(["text=a", "text=b"], /^text: is given twice$/m);
  });

  it("waits until a job has ended, and fails when it failed", async () => {
    const { id } = await json("submit", "csm", "text=Hello.");
    const waiting = type(client, ["wait", id]);
    await temporal.workflow.getHandle(ids.job(id)).terminate();
    const { code, stdout, stderr } = await waiting;
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, new RegExp(`Job ${id} is failed: Job was terminated by an operator\\n$`));
    for (const command of ["wait", "result", "events"]) {
      const asked = await type(client, [command, id, "--json"]);
      assert.equal(asked.code, 1, command);
      const [last = ""] = command === "events" ? asked.stdout.trim().split("\n").slice(-1) : [asked.stdout];
      assert.match(last, /"error": ?"Job was terminated by an operator"/);
    }
  });

  it("passes on what the API refuses, each field with its sentence", async () => {
    const { code, stdout, stderr } = await type(client, ["submit", "csm", "text=", "topk=500"]);
    assert.deepEqual([code, stdout], [3, ""]);
    assert.match(stderr, /^.+ \(HTTP 400, request [0-9a-f-]{36}\)\n {2}topk: must be at most 100\n {2}text: .+\n$/);
    const stranger = await type(createClient({ baseUrl: api.url }), ["pools"]);
    assert.deepEqual([stranger.code, stranger.stdout], [3, ""]);
    assert.match(stranger.stderr, /\(HTTP 401, request /);
  });

  it("says that nothing answers there, or something else", async () => {
    const nobody = await type(createClient({ baseUrl: "http://127.0.0.1:9" }), ["gpus"]);
    assert.equal(nobody.code, 3);
    assert.match(nobody.stderr, /^The API cannot be reached \(C3_RENDER_URL\): .+\n$/);
    const page = await type(createClient({ baseUrl: `${api.url}/docs/swagger-ui.css?` }), ["gpus"]);
    assert.deepEqual([page.code, page.stdout], [3, ""]);
    assert.match(page.stderr, /^What answers is not this API/);
  });

  it("says how it and each of its commands is used, with every field", async () => {
    const { code, stdout, stderr } = await type(client, ["--help"]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /Exit codes:\n {2}0 /);
    assert.match((await type(client, ["--version"])).stdout, /^\d+\.\d+\.\d+\n$/);
    const commands = [...stdout.matchAll(/^ {2}([a-z]+) .* {2}\S/gm)].map(([, name = ""]) => name);
    assert.ok(commands.length >= 13, commands.join());
    for (const name of commands) {
      const help = await type(client, [name, "--help"]);
      assert.deepEqual([help.code, help.stderr], [0, ""], name);
      assert.match(help.stdout, /^Usage: c3-render /);
    }
    assert.match((await type(client, ["submit", "--help"])).stdout, /^Fields of lipsync: .*video_url.*version$/m);
  });

  for (const [typed, sentence] of [
    ["", /^Usage: c3-render \[options\]/],
    ["submit", /^missing required argument 'type'$/m],
    ["submit sound text=a", /^sound: is no type of job; there are csm, whisper, portrait, analyze, lipsync$/m],
    ["submit cms text=a", /^cms: is no type of job \(did you mean csm\?\);/],
    ["submit csm text", /^text: must be <field>=<value>$/m],
    ["submit csm txet=a", /^txet: is not a field of csm \(did you mean text\?\)$/m],
    ["submit whisper colour=a", /^colour: is not a field of whisper$/m],
    ["submit csm --body []", /^--body: must be an object in JSON$/m],
    ["submit csm --body {", /^--body: is not JSON: /],
    ["submit csm --loud", /^unknown option '--loud'$/m],
    ["submit csm --wiat", /^\(Did you mean --wait\?\)$/m],
    ["submit csm --out", /^option '--out <path>' argument missing$/m],
    ["status", /^missing required argument 'id'$/m],
    ["status ../jobs", /^\.\.\/jobs: is not the id of a job$/m],
    ["status a b", /^too many arguments for 'status'/m],
    ["list all", /^all: must be <field>=<value>$/m],
    ["list typ=csm", /^typ: is not what jobs are chosen by \(did you mean type\?\)$/m],
    ["dance a", /^unknown command 'dance'$/m],
    ["pool", /^\(Did you mean pools\?\)$/m],
  ] as const) {
    it(`does not know what is meant by "${typed}", and says so in plain text`, async () => {
      const { code, stdout, stderr } = await type(
        client,
        typed.split(" ").filter((word) => word !== ""),
      );
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, sentence);
      assert.doesNotMatch(stderr, /\\n|^['"]|error:/);
    });
  }
});
