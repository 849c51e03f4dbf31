import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { findProgram, type Program } from "../../src/dev/binaries.ts";
import { freePort, startTemporalServer, type TemporalServer } from "../../src/dev/temporalServer.ts";
import { eventually } from "../support/eventually.ts";
import { temporalExecutable } from "../support/programs.ts";
import { startsOnce } from "../support/temporal.ts";

/** With the driver that the Temporal CLI asks for, the server answers nothing any more after some thousand. */
const GIVEN_UP = 6000;

describe("the embedded Temporal server", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-dev-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("takes the next free port, and says so", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const address = taken.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const said: string[] = [];
    const found = await freePort(port, "the API", (line) => said.push(line));
    assert.notEqual(found, port);
    assert.deepEqual(said, [`Port ${port} is taken; the API uses ${found}`]);
    taken.close();
  });

  it("refuses a folder on which another process runs, and ends a server that was left behind", async () => {
    const executable = await temporalExecutable();
    const said: string[] = [];
    const options = { executable, dataDir: folder, port: 0, say: (line: string) => void said.push(line) };
    const server = await startTemporalServer(options);
    const owner = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
    const file = join(folder, "temporal.owner.json");
    const { readFile } = await import("node:fs/promises");
    const owned = JSON.parse(await readFile(file, "utf8"));
    await writeFile(file, JSON.stringify({ ...owned, owner: owner.pid }));
    await assert.rejects(startTemporalServer(options), /already runs on .* \(pid \d+\)/);
    owner.kill();
    await once(owner, "exit");
    const next = await startTemporalServer(options);
    assert.match(said.join("\n"), /Ending the Temporal server that an earlier run left behind/);
    await next.stop();
    await server.stop();
  });

  describe("that is supervised", () => {
    const said: string[] = [];
    let server: TemporalServer | undefined;
    beforeEach(() => void said.splice(0));
    afterEach(async () => await server?.stop());

    async function startSupervised(executable: string) {
      // As it was before the database was kept to its owner.
      await chmod(folder, 0o755);
      const supervision = { everyMs: 200, answerWithinMs: 1000 };
      const say = (line: string) => void said.push(line);
      server = await startTemporalServer({ executable, dataDir: folder, port: 0, supervision, say });
      const connection = Connection.lazy({ address: server.address });
      return { server, client: new Client({ connection }) };
    }
    const pid = () => JSON.parse(readFileSync(join(folder, "temporal.owner.json"), "utf8")).server as number;

    for (const [what, signal, complaint] of [
      ["ends", "SIGKILL", "the Temporal server ended (SIGKILL)"],
      ["answers nothing", "SIGSTOP", "the Temporal server answers nothing any more"],
    ] as const) {
      it(`is there again with all that it knew when it ${what}`, async () => {
        const { client } = await startSupervised(await temporalExecutable());
        const handle = await client.workflow.start("nobody's", { workflowId: "kept", taskQueue: "nobody works on it" });
        assert.equal((await stat(folder)).mode & 0o077, 0, "others may read the database");
        const first = pid();
        process.kill(first, signal);
        await eventually("another process", () => pid() !== first || undefined);
        const { status } = await eventually("an answer", () => handle.describe().catch(() => undefined));
        assert.equal(status.name, "RUNNING");
        assert.ok(said.join("\n").includes(`Starting Temporal again: ${complaint}; see `), said.join("\n"));
        await client.connection.close();
      });
    }

    it("is given up when it cannot be started again", async () => {
      const { server: started, client } = await startSupervised(await startsOnce(folder));
      process.kill(pid(), "SIGKILL");
      assert.match(
        await started.ended,
        /ended \(SIGKILL\), and could not be started again \(.* ended at its start with code 3/,
      );
      await client.connection.close();
    });
  });

  it("goes on answering after very many calls that were given up", async function () {
    this.timeout(120_000);
    const server = await startTemporalServer({
      executable: await temporalExecutable(),
      dataDir: folder,
      port: 0,
      say: () => {},
    });
    const connection = await Connection.connect({ address: server.address });
    const client = new Client({ connection });
    let calls = 0;
    const giveUp = async () => {
      while (calls < GIVEN_UP) {
        calls += 1;
        const options = { workflowId: `given-up-${calls}`, taskQueue: "nobody works on it" };
        const call = () =>
          calls % 2 === 0 ? client.workflow.count("WorkflowType = 'any'") : client.workflow.start("any", options);
        await client.withDeadline<unknown>(Date.now() + (calls % 12) + 1, call).catch(() => {});
      }
    };
    await Promise.all(Array.from({ length: 24 }, giveUp));
    await client.withDeadline(Date.now() + 30_000, () =>
      client.workflow.start("any", { workflowId: "after all that", taskQueue: "nobody works on it" }),
    );
    await connection.close();
    await server.stop();
  });

  it("says that there is no such program", async () => {
    const executable = join(folder, "nowhere");
    await assert.rejects(startTemporalServer({ executable, port: 0, say: () => {} }), /nowhere ENOENT/);
  });

  it("says why it did not start", async () => {
    const broken = join(folder, "broken");
    await writeFile(broken, "#!/bin/sh\nexit 3\n");
    await chmod(broken, 0o755);
    await assert.rejects(
      startTemporalServer({ executable: broken, port: 0, say: () => {} }),
      /ended at its start with code 3/,
    );
  });

  describe("is found", () => {
    const program = (overrides: Partial<Program> = {}): Program => ({
      name: "no-such-program",
      version: "1.2.3",
      configuredPath: undefined,
      variable: "PROGRAM_PATH",
      goModule: "example.invalid/program",
      ...overrides,
    });
    const environment = () => ({ PATH: folder, XDG_CACHE_HOME: join(folder, "cache") });
    const find = (wanted: Program) => findProgram(wanted, environment(), () => {});

    it("where the configuration says, or not at all", async () => {
      assert.equal(await find(program({ configuredPath: process.execPath })), process.execPath);
      await assert.rejects(find(program({ configuredPath: "/nowhere" })), /^Error: PROGRAM_PATH: \/nowhere is not/);
    });

    it("on the PATH before it is downloaded", async () => {
      const path = join(folder, "no-such-program");
      await writeFile(path, "");
      await chmod(path, 0o755);
      assert.equal(await find(program({ download: () => assert.fail("it was downloaded") })), path);
    });

    it("by download, and in the cache from then on", async () => {
      let downloads = 0;
      const download = async (to: string) => {
        downloads += 1;
        const file = join(to, "fresh");
        await writeFile(file, "", { mode: 0o755 });
        return file;
      };
      const found = await find(program({ download }));
      assert.equal(found, join(folder, "cache", "c3-render", "no-such-program-1.2.3"));
      assert.equal(await find(program({ download })), found);
      assert.equal(downloads, 1);
    });

    it("or an error says what was tried and how to get it", async () => {
      const download = () => Promise.reject(new Error("no route"));
      const error = await find(program({ download })).catch((caught: unknown) => caught);
      assert.ok(error instanceof Error);
      for (const part of [/on the PATH/, /a download: no route/, /no Go|go install/, /set PROGRAM_PATH/]) {
        assert.match(error.message, part);
      }
    });
  });
});
