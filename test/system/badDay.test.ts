import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { statfsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ffmpegInstaller from "@ffmpeg-installer/ffmpeg";
import { freePort, startTemporalServer } from "../../src/dev/temporalServer.ts";
import { eventually } from "../support/eventually.ts";
import { type PausableTemporal, startPausableTemporal } from "../support/pausableTemporal.ts";
import { temporalExecutable } from "../support/programs.ts";
import { startTestStack, type TestStack, type TestStackOptions } from "../support/stack.ts";
import { startTamperer } from "../support/tamperer.ts";
import { startS3 } from "../support/versitygw.ts";
import { type OwnProcess, startApiProcess, startWorkerProcess } from "../support/workerProcess.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const setClock = new URL("../support/setClock.mjs", import.meta.url).href;

interface Scene {
  stack: TestStack;
  worker: OwnProcess;
  api: OwnProcess;
  apiUrl: string;
}

interface Trouble {
  /** Removes a trouble and what brought it; also after a failure. */
  end(): Promise<void> | void;
  /** Resolves when it is told in words, or was long enough. */
  told(scene: Scene): Promise<unknown>;
  /** A submission meanwhile may be refused, in these words. */
  refuses?: RegExp;
}

interface Case {
  what: string;
  /** What the jobs are; those with an input use the worker's disk and its programs. */
  path?: "/csm" | "/whisper";
  /** @returns undefined where this machine does not allow it */
  prepare?(folder: string): Promise<TestStackOptions | undefined>;
  /** @param rendering waits until the first job renders */
  bring(scene: Scene, folder: string): Promise<Trouble> | Trouble;
  /** The trouble comes before the first job, rather than while it renders. */
  first?: boolean;
  renderSeconds?: number;
}

const logged = (process: (scene: Scene) => OwnProcess, words: RegExp) => (scene: Scene) =>
  eventually(
    () => `${words} in ${process(scene).output().slice(-3000)}`,
    () => words.test(process(scene).output()),
  );
const workerSays = (words: RegExp) => logged(({ worker }) => worker, words);
const readyzSays = (words: RegExp) => async (scene: Scene) => {
  let said = "";
  await eventually(
    () => `${words} and not ${said}`,
    async () => {
      said = await (await fetch(`${scene.apiUrl}/readyz`)).text();
      return words.test(said);
    },
  );
};

/** A disk of its own, small enough to be filled. @returns undefined where this machine does not allow it */
async function smallDisk(path: string, megabytes: number): Promise<string | undefined> {
  await mkdir(path, { recursive: true });
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", path], { stdio: "ignore" });
    return path;
  } catch {
    console.log("      skipped: a small disk cannot be mounted here");
    return undefined;
  }
}

async function fill(disk: string): Promise<() => Promise<void>> {
  const { bavail, bsize } = statfsSync(disk);
  const path = join(disk, "other");
  await writeFile(path, Buffer.alloc(bavail * bsize));
  return () => rm(path, { force: true });
}

const clockCases = [MINUTE_MS, -MINUTE_MS, DAY_MS, -DAY_MS].map(
  (ms): Case => ({
    what: `the clock of API and worker is set ${Math.abs(ms) === DAY_MS ? "a day" : "a minute"} ${ms > 0 ? "forward" : "back"}`,
    async bring(_scene, folder) {
      await writeFile(join(folder, "clock"), String(ms));
      const words = new RegExp(`clock is \\d+ s ${ms > 0 ? "ahead of" : "behind"} the one of Temporal`);
      return {
        end: () => writeFile(join(folder, "clock"), "0"),
        told: (scene) =>
          Promise.all([workerSays(words)(scene), logged(({ api }) => api, words)(scene), readyzSays(words)(scene)]),
      };
    },
  }),
);

let temporal: PausableTemporal | undefined;
let proxy: Awaited<ReturnType<typeof startTamperer>> | undefined;
const closers: (() => Promise<unknown>)[] = [];

async function behindProxy(): Promise<TestStackOptions | undefined> {
  const s3 = await startS3();
  if (s3 === undefined) return undefined;
  const { endpoint = "", accessKey = "", secretKey = "", bucket } = s3.s3;
  proxy = await startTamperer(endpoint);
  closers.push(proxy.close, s3.stop);
  const access = { MINIO_ACCESS_KEY: accessKey, MINIO_SECRET_KEY: secretKey, MINIO_BUCKET: bucket };
  return { env: { MINIO_ENDPOINT: proxy.url, ...access } };
}

const storeCases = (
  [
    ["refuses connections", (response) => void response.destroy()],
    ["answers 503", (response) => void response.writeHead(503).end()],
    // It does not answer before the trouble is over.
    ["is slow", () => {}],
  ] as [string, (response: import("node:http").ServerResponse) => void][]
).map(
  ([how, answer]): Case => ({
    what: `the object store ${how}`,
    prepare: behindProxy,
    bring() {
      const waiting: import("node:http").ServerResponse[] = [];
      proxy?.instead("", (response) => {
        waiting.push(response);
        answer(response);
      });
      return {
        end() {
          proxy?.instead();
          for (const response of waiting) response.destroy();
        },
        told: readyzSays(/the object store is not ready/),
      };
    },
  }),
);

const cases: Case[] = [
  {
    what: "the disk of OUTPUT_DIR is full",
    path: "/whisper",
    first: true,
    async prepare(folder) {
      const disk = await smallDisk(join(folder, "output"), 4);
      return disk === undefined ? undefined : { env: { OUTPUT_DIR: disk } };
    },
    async bring(_scene, folder) {
      return {
        end: await fill(join(folder, "output")),
        told: workerSays(/nothing can be written in OUTPUT_DIR.*|reason.*ENOSPC/),
      };
    },
  },
  {
    what: "the disk of the store is full",
    async prepare(folder) {
      const disk = await smallDisk(join(folder, "store"), 4);
      return disk === undefined ? undefined : { env: { STORAGE_DIR: disk } };
    },
    async bring(_scene, folder) {
      return { end: await fill(join(folder, "store")), told: readyzSays(/the object store is not ready/) };
    },
  },
  {
    what: "the disk of the database is full",
    async prepare(folder) {
      const dataDir = await smallDisk(join(folder, "database"), 40);
      if (dataDir === undefined) return undefined;
      const server = await startTemporalServer({ executable: await temporalExecutable(), dataDir, port: 0, say() {} });
      closers.push(server.stop);
      return { temporalAddress: server.address };
    },
    async bring(_scene, folder) {
      return {
        end: await fill(join(folder, "database")),
        told: readyzSays(/.*/),
        refuses: /job service|not known whether the job/,
      };
    },
  },
  {
    what: "the kernel has no memory for a child, and ends it",
    path: "/whisper",
    first: true,
    async prepare(folder) {
      const program = join(folder, "ffmpeg");
      const ours = `case "$*" in *-format_whitelist*) [ -e '${folder}/memory' ] && kill -KILL $$;; esac`;
      await writeFile(program, `#!/bin/sh\n${ours}\nexec '${ffmpegInstaller.path}' "$@"\n`, { mode: 0o755 });
      return { env: { FFMPEG_PATH: program } };
    },
    async bring(_scene, folder) {
      await writeFile(join(folder, "memory"), "");
      return { end: () => rm(join(folder, "memory"), { force: true }), told: workerSays(/was ended by SIGKILL/) };
    },
  },
  ...storeCases,
  ...clockCases,
  // What counts is that Temporal gives the attempt up, after 15 s without a heartbeat: a minute does no more.
  ...[3, 20].map(
    (renderSeconds): Case => ({
      what: `the worker is paused for longer than a heartbeat may be late, and the render takes ${renderSeconds} s`,
      renderSeconds,
      bring({ worker }) {
        worker.pause();
        return { end: worker.resume, told: untilGivenUp };
      },
    }),
  ),
  {
    what: "the API is paused",
    bring({ api }) {
      api.pause();
      return { end: api.resume, told: async () => {} };
    },
  },
  {
    what: "the Temporal server is paused",
    async prepare() {
      temporal = await startPausableTemporal();
      closers.push(temporal.stop);
      return { temporalAddress: temporal.address };
    },
    bring() {
      temporal?.pause();
      return {
        end: () => temporal?.resume(),
        told: readyzSays(/Temporal cannot be reached/),
        refuses: /job service does not answer|not known whether the job/,
      };
    },
  },
];

/** Temporal has given up the attempt that renders. */
async function untilGivenUp({ stack }: Scene): Promise<void> {
  await eventually("the attempt is given up", async () => {
    for await (const { workflowId } of stack.client.workflow.list({ query: "WorkflowType = 'renderJob'" })) {
      const { raw } = await stack.client.workflow.getHandle(workflowId).describe();
      const isOther = (one: { activityType?: { name?: string | null } | null; attempt?: number | null }) =>
        one.activityType?.name === "runModel" && (one.attempt ?? 0) > 1;
      if (raw.pendingActivities?.some(isOther)) return true;
    }
    return undefined;
  });
}

describe("a bad day", function () {
  this.timeout(90_000);
  let folder: string;
  let scene: Scene | undefined;
  let trouble: Trouble | undefined;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-bad-day-"));
    await writeFile(join(folder, "clock"), "0");
  });
  afterEach(async () => {
    await trouble?.end();
    await scene?.stack.close();
    await scene?.worker.stop();
    await scene?.api.stop();
    for (const close of closers.splice(0)) await close();
    for (const disk of ["output", "store", "database"]) unmount(join(folder, disk));
    await rm(folder, { recursive: true, force: true });
    [scene, trouble, temporal, proxy] = [undefined, undefined, undefined, undefined];
  });

  for (const one of cases) {
    it(`loses nothing and renders nothing twice: ${one.what}`, async function () {
      const options: TestStackOptions | undefined = one.prepare === undefined ? {} : await one.prepare(folder);
      if (options === undefined) return this.skip();
      const { renderSeconds = 3 } = one;
      const stack = await startTestStack({ ...options, withoutWorker: true, renderSeconds });
      const port = await freePort(0, "an API", () => {});
      const { OUTPUT_DIR: _, ...env } = options.env ?? {};
      const clock = { NODE_OPTIONS: `--import=${setClock}`, TEST_CLOCK: join(folder, "clock") };
      const [worker, api] = await Promise.all([
        startWorkerProcess(stack.config, { ...env, ...clock }),
        startApiProcess(stack.config, port, { ...env, ...clock }),
      ]);
      scene = { stack, worker, api, apiUrl: `http://127.0.0.1:${port}` };
      const accepted: string[] = [];
      if (one.first) trouble = await one.bring(scene, folder);
      accepted.push(await submit(scene, one, "first"));
      if (!one.first) {
        await eventually("it renders", () => stack.simulator.renders().length === 1);
        trouble = await one.bring(scene, folder);
      }
      const meanwhile = submit(scene, one, "meanwhile").catch((error: Error) => error);
      await trouble?.told(scene);
      await trouble?.end();
      const second = await meanwhile;
      if (typeof second === "string") accepted.push(second);
      else assert.match(second.message, trouble?.refuses ?? /nothing may be refused/);
      for (const id of accepted) await stack.untilState(id, "success");
      for (const id of accepted) {
        await eventually(`the webhook of ${id}`, () => toldOf(stack, id).length > 0);
        assert.equal(await stack.untilClosed(id), "COMPLETED");
        assert.deepEqual(toldOf(stack, id), ["success"]);
      }
      assert.equal(stack.simulator.renders().length, accepted.length, "renders");
    });
  }
});

async function submit({ apiUrl, stack }: Scene, { path = "/csm" }: Case, name: string): Promise<string> {
  const { url } = stack.simulator;
  const what = path === "/csm" ? { text: "On a bad day." } : { audio_url: `${url}/sim/files/voice.wav` };
  const response = await fetch(`${apiUrl}${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...what, notify_url: `${url}/sim/hooks/${name}` }),
  });
  const { id, error } = (await response.json()) as { id?: string; error?: string };
  if (id === undefined) throw new Error(error);
  return id;
}

/** How the caller was told that a job ended. */
function toldOf(stack: TestStack, id: string): string[] {
  const bodies = ["first", "meanwhile"]
    .flatMap((name) => stack.simulator.received(name))
    .map(({ body }) => JSON.parse(body));
  return bodies.filter((body) => body.id === id).map(({ status }) => status);
}

function unmount(disk: string): void {
  try {
    execFileSync("umount", [disk], { stdio: "ignore" });
  } catch {
    // It was never mounted.
  }
}
