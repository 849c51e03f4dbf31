import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { environmentSchema } from "../../src/config/environment.ts";
import { ConfigError, loadConfig } from "../../src/config/index.ts";
import { replacedVariables } from "../../src/config/replacedVariables.ts";
import { refuseHalfAStack, warnOfIgnored } from "../../src/process/lifecycle.ts";
import type { Logger } from "../../src/process/log.ts";

const problemsOf = (env: Record<string, string>) => {
  try {
    loadConfig(env);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error;
  }
  return assert.fail("it was accepted");
};

const KEY = "a-key-of-the-tests";

describe("the configuration", () => {
  it("has the documented defaults", () => {
    const config = loadConfig({});
    assert.equal(config.api.port, 5000);
    assert.equal(config.api.host, "127.0.0.1");
    assert.deepEqual(config.gpu.pools, {
      "media:fast": { min: 0, max: 4 },
      "ollama_webui:fast": { max: 4 },
    });
    assert.equal(config.gpu.idleTimeoutMs, 300_000);
    assert.deepEqual(config.gpu.launchRetryMs, [5000, 15_000, 30_000, 45_000, 60_000]);
    assert.deepEqual(config.webhook.retryDelaysMs, [5000, 5000, 5000, 5000]);
    assert.equal(config.webhook.timeoutMs, 10_000);
  });

  it("leaves room for the other tenants in the queue, if there may be any", () => {
    const keys = (...names: string[]) => JSON.stringify(names.map((name, index) => ({ name, key: `${KEY}-${index}` })));
    const cases: [env: Record<string, string>, perTenant: number][] = [
      [{}, 5000],
      [{ C3_RENDER_API_KEY: KEY }, 5000],
      [{ C3_RENDER_KEYS: keys("anna", "anna") }, 5000],
      [{ C3_RENDER_KEYS: keys("anna", "bert") }, 1000],
      [{ C3_RENDER_API_KEY: KEY, C3_RENDER_KEYS: keys("anna") }, 1000],
      [{ OIDC_ISSUER: "https://issuer.example", OIDC_AUDIENCE: "c3-render", MAX_QUEUED: "3" }, 1],
      [{ C3_RENDER_KEYS: keys("anna", "bert"), MAX_QUEUED_PER_TENANT: "7" }, 7],
    ];
    for (const [env, perTenant] of cases) {
      assert.equal(loadConfig(env).api.maxQueuedPerTenant, perTenant, JSON.stringify(env));
    }
  });

  it("takes a certificate for HTTPS only together with its key", async () => {
    const folder = await mkdtemp(join(tmpdir(), "c3-render-config-"));
    const [TLS_CERT_FILE, TLS_KEY_FILE] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    await Promise.all([writeFile(TLS_CERT_FILE, "a certificate"), writeFile(TLS_KEY_FILE, "a key")]);
    assert.deepEqual(loadConfig({ TLS_CERT_FILE, TLS_KEY_FILE }).api.tls, { cert: "a certificate", key: "a key" });
    assert.match(problemsOf({ TLS_CERT_FILE }).message, /TLS_CERT: needs TLS_KEY/);
    await rm(folder, { recursive: true });
  });

  it("names every bad value at once and tells no secret", () => {
    const { message } = problemsOf({
      PORT: "many",
      MAX_GPUS: "0",
      C3_API_URL: "nowhere",
      C3_RENDER_API_KEY: "my-secret",
    });
    for (const name of ["PORT", "MAX_GPUS", "C3_API_URL"]) assert.match(message, new RegExp(`- ${name}: `));
    assert.ok(!message.includes("my-secret"));
  });

  it("takes secrets from files, and says which one cannot be read", async () => {
    const folder = await mkdtemp(join(tmpdir(), "c3-render-config-"));
    await writeFile(join(folder, "key"), "from a file\n");
    assert.equal(loadConfig({ C3_API_KEY_FILE: join(folder, "key") }).comput3.apiKey, "from a file");
    assert.match(problemsOf({ C3_API_KEY_FILE: join(folder, "none") }).message, /C3_API_KEY_FILE: cannot be read/);
    await rm(folder, { recursive: true });
  });

  it("takes keys for what is in Temporal, by id, and prints none of them", () => {
    const [first, second] = [1, 2].map((byte) => Buffer.alloc(32, byte).toString("base64"));
    const { payloadKeys } = loadConfig({ TEMPORAL_PAYLOAD_KEYS: `new:${first}, 2025-11.old:${second}` }).temporal;
    assert.deepEqual(
      payloadKeys.map(({ id, secret }) => [id, secret.export().toString("base64")]),
      [
        ["new", first],
        ["2025-11.old", second],
      ],
    );
    assert.ok(!JSON.stringify(payloadKeys).includes(String(first)));
    const short = Buffer.alloc(16, 1).toString("base64");
    for (const value of [first, `:${first}`, `new:${short}`, `new:${first},new:${second}`, `a b:${first}`, "new:"]) {
      const { message } = problemsOf({ TEMPORAL_PAYLOAD_KEYS: String(value) });
      assert.match(message, /- TEMPORAL_PAYLOAD_KEYS: must be like id:key/);
      assert.ok(!message.includes(String(first).slice(0, 20)) && !message.includes(short));
    }
  });

  it("goes on trying webhooks for hours where that is wanted", () => {
    const { retryDelaysMs } = loadConfig({ WEBHOOK_RETRY: "extended" }).webhook;
    const seconds = [5, 5, 5, 5, 60, 300, 1800, 7200, 18_000];
    assert.deepEqual(
      retryDelaysMs,
      seconds.map((delay) => delay * 1000),
    );
  });

  it("turns to S3 as soon as there is an endpoint", () => {
    const { storage } = loadConfig({ MINIO_ENDPOINT: "minio:9000", MINIO_SECURE: "true" });
    assert.equal(storage.kind, "s3");
    assert.equal(storage.kind === "s3" && storage.s3.endpoint, "https://minio:9000");
  });

  it("knows what used to mean something", () => {
    const old = [
      ...["GPU_WORKER_DELAY", "NO_GPU_WORKER_DELAY", "LOCK_RETRY_INTERVAL", "QUEUE_CHECK_INTERVAL", "C3_RENDER_KEY"],
      ...["DEFAULT_COMPLETE_BY", "API_KEY", "REDIS_HOST", "REDIS_URL", "WORKER_POLLING_INTERVAL"],
    ];
    const env = {
      PORT: "1",
      C3_API_KEY: "x",
      REDIS_PASSWORD: "",
      ...Object.fromEntries(old.map((name) => [name, "2"])),
    };
    assert.deepEqual(
      replacedVariables(env).map(({ name }) => name),
      old,
    );
    const warnings: string[] = [];
    warnOfIgnored(env, { warn: (_: object, message: string) => void warnings.push(message) } as unknown as Logger);
    assert.equal(warnings.length, old.length);
    assert.match(warnings.join("\n"), /^C3_RENDER_KEY is ignored: .*C3_RENDER_API_KEY/m);
    assert.match(warnings.join("\n"), /^DEFAULT_COMPLETE_BY is ignored: it is DEFAULT_COMPLETE_IN/m);
    for (const { name } of replacedVariables(env)) assert.ok(!(name in environmentSchema.shape), name);
  });

  it("starts no half of a stack by accident", () => {
    assert.throws(() => refuseHalfAStack(loadConfig({})), /C3_API_KEY: .*[\s\S]*STORAGE: /);
    refuseHalfAStack(loadConfig({ C3_API_KEY: "x", MINIO_ENDPOINT: "minio:9000" }));
    refuseHalfAStack(loadConfig({ GPU_PROVIDER: "simulator", STORAGE_SHARED: "true" }));
  });

  it("has a line for every variable in .env.example, with its default", async () => {
    const example = await readFile(new URL("../../.env.example", import.meta.url), "utf8");
    const listed = Object.fromEntries(
      [...example.matchAll(/^([A-Z0-9_]+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
    );
    assert.deepEqual(Object.keys(listed).sort(), Object.keys(environmentSchema.shape).sort());
    assert.deepEqual(loadConfig(listed as Record<string, string>), loadConfig({}));
  });
});
