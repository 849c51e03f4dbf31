import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { type Client, createClient } from "../../src/sdk/index.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";
import { type } from "./support.ts";

const program = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const A_WHILE_SECONDS = 8;

describe("the command, against a service", () => {
  let stack: TestStack;
  let client: Client;
  let folder: string;
  before(async () => {
    stack = await startTestStack();
    client = createClient({ baseUrl: stack.apiUrl });
    folder = await mkdtemp(join(tmpdir(), "c3-render-cli-"));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
    await stack.close();
  });

  function start(...args: string[]) {
    const env = { ...process.env, C3_RENDER_URL: stack.apiUrl };
    return spawn(process.execPath, ["--import", "tsx", program, ...args], { env, stdio: "pipe" });
  }

  async function endOf(child: ChildProcessWithoutNullStreams) {
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
    return { code, stdout, stderr };
  }

  it("saves what came of a job: a file, another file of it by its extension, or all of them in a folder", async () => {
    const voice = `${stack.simulator.url}/sim/files/voice.wav`;
    const file = join(folder, "new", "hello.mp3");
    const spoken = await type(client, ["submit", "csm", "text=Hello.", "--out", file]);
    assert.deepEqual([spoken.code, spoken.stdout], [0, `${file}\n`], spoken.stderr);
    assert.ok((await stat(file)).size > 1000);
    const heard = await type(client, ["submit", "whisper", `audio_url=${voice}`, "--wait", "--json"]);
    const { id, result } = JSON.parse(heard.stdout) as { id: string; result: { text: string } };
    assert.equal((await type(client, ["result", id])).stdout, `${result.text}\n`);
    const subtitles = join(folder, "talk.srt");
    assert.equal((await type(client, ["result", id, "--out", subtitles])).stdout, `${subtitles}\n`);
    assert.match(await readFile(subtitles, "utf8"), /-->/);
    const all = await type(client, ["wait", id, "--out", `${folder}/all/`, "--json"]);
    const { saved } = JSON.parse(all.stdout) as { saved: string[] };
    assert.deepEqual(
      (await readdir(join(folder, "all"))).sort(),
      saved.map((path) => path.slice(path.lastIndexOf("/") + 1)).sort(),
    );
    assert.ok(saved.length > 4, saved.join());
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.endsWith(".part")),
      [],
    );

    await writeFile(join(folder, "file"), "");
    const nowhere = await type(client, ["result", id, "--out", join(folder, "file", "a.txt")]);
    assert.deepEqual([nowhere.code, nowhere.stdout], [4, ""]);
    assert.match(nowhere.stderr, new RegExp(`^the result of job ${id} could not be saved: .*(ENOTDIR|EEXIST)`));
  });

  it("shows how a job goes: lines, a bar at a terminal, nothing to programs", async () => {
    const submit = ["submit", "csm", "text=Hello.", "--wait"];
    const lines = await type(client, submit);
    assert.match(lines.stdout, /^http:\S+\.mp3\S+\n$/);
    assert.match(lines.stderr, /^((queued|running)(: \w+)?.*\n)*success\n$/);
    const bar = await type(client, submit, { isTTY: true });
    assert.match(bar.stderr, /[█░]{24} (queued|running)/);
    assert.match(bar.stdout, /^http:\S+\n$/);
    const programs = await type(client, [...submit, "--json"]);
    assert.equal(programs.stderr, "");
    const { id, status } = JSON.parse(programs.stdout) as { id: string; status: string };
    assert.equal(status, "success");
    const events = await type(client, ["events", id]);
    assert.match(events.stdout, /^\S+Z {2}queued {2}accepted\n[\s\S]+\nsuccess\n$/);
    const told = (await type(client, ["events", id, "--json"])).stdout.trim().split("\n");
    assert.equal(JSON.parse(told.at(-1) ?? "").event, "end");
  });

  it("shows pools, GPUs and deliveries", async () => {
    assert.match((await type(client, ["pools"])).stdout, /^pools\n {2}type .*queue/);
    assert.match((await type(client, ["gpus"])).stdout, /^gpus\n {2}id .*type .*state/);
    const { pools } = JSON.parse((await type(client, ["pools", "--json"])).stdout);
    assert.equal(pools.length, 2);
    const hook = `${stack.simulator.url}/sim/hooks/cli`;
    const { stdout } = await type(client, ["submit", "csm", "text=Hello.", `notify_url=${hook}`, "--wait", "--json"]);
    const { id } = JSON.parse(stdout);
    await eventually(
      "it is told",
      async () => /true/.test((await type(client, ["deliveries", id])).stdout) || undefined,
    );
    const again = await type(client, ["deliveries", id, "--again"]);
    assert.match(again.stdout, /is sent again\n$/);
  });

  it("prints errors as text, ends with its exit code, and does not mind a reader that goes away", async () => {
    const wrong = await endOf(start("submit", "csm", "txet=a"));
    assert.deepEqual(wrong, {
      code: 2,
      stdout: "",
      stderr: "txet: is not a field of csm (did you mean text?)\n(--help says how it is used)\n",
    });
    const listing = start("list", "--json");
    listing.stdout.destroy();
    const [stderr, [code]] = await Promise.all([text(listing.stderr), once(listing, "exit")]);
    assert.deepEqual([code, stderr], [0, ""]);
  });

  it("leaves the job alone when Ctrl-C ends the wait, and says how to go on", async () => {
    stack.simulator.settings.renderSeconds = A_WHILE_SECONDS;
    const child = start("submit", "csm", "text=Hello.", "--wait");
    const ended = endOf(child);
    const [running] = await eventually("the job runs", async () => {
      const { jobs } = await client.list({ limit: 1, status: "running" });
      return jobs.length > 0 ? jobs : undefined;
    });
    const id = running?.id ?? "";
    child.kill("SIGINT");
    const { code, stdout, stderr } = await ended;
    assert.deepEqual([code, stdout], [130, ""]);
    assert.match(stderr, new RegExp(`c3-render wait ${id} waits for it again, c3-render cancel ${id} ends it`));
    assert.notEqual((await client.status(id)).status, "cancelled");
    await client.cancel(id);
    await stack.untilClosed(id);
    stack.simulator.settings.renderSeconds = 0;
  });
});
