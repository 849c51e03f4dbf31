import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256Of, webhookSecretsOf } from "../../src/config/apiKeys.ts";
import { ConfigError, loadConfig } from "../../src/config/index.ts";

const keysOf = (entries: unknown) => loadConfig({ C3_RENDER_KEYS: JSON.stringify(entries) }).api.keys;
const problemsOf = (text: string) => {
  try {
    loadConfig({ C3_RENDER_KEYS: text });
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems;
  }
  return assert.fail("it was accepted");
};

describe("the keys of tenants", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-keys-"));
  });
  after(() => rm(folder, { recursive: true }));

  it("are read from a file, as keys or as their digests", async () => {
    const file = join(folder, "keys.json");
    const studio = { name: "studio", key: "the-key-of-studio", weight: 2, rate: 600, webhook_secret: ["new", "old"] };
    const ops = {
      name: "ops",
      sha256: sha256Of("the-key-of-the-ops").toUpperCase(),
      role: "admin",
      webhook_secret: "one",
    };
    await writeFile(file, JSON.stringify([studio, ops]));
    const { api } = loadConfig({ C3_RENDER_KEYS_FILE: file });
    const unset = { weight: undefined, rate: undefined };
    assert.deepEqual(api.keys, [
      {
        name: "studio",
        sha256: sha256Of("the-key-of-studio"),
        role: "user",
        weight: 2,
        rate: 600,
        webhookSecrets: ["new", "old"],
      },
      { name: "ops", sha256: sha256Of("the-key-of-the-ops"), role: "admin", ...unset, webhookSecrets: ["one"] },
    ]);
    assert.equal(api.requiresKey, true);
    assert.equal(api.host, "0.0.0.0");
  });

  it("may replace one another: two of one name, with the webhook secrets of both", () => {
    const keys = keysOf([
      { name: "studio", key: "the-old-key-of-studio", webhook_secret: "s1" },
      { name: "studio", key: "the-new-key-of-studio", webhook_secret: ["s2", "s1"] },
      { name: "other", key: "the-key-of-others" },
    ]);
    assert.deepEqual(webhookSecretsOf(keys, "studio"), ["s1", "s2"]);
    assert.deepEqual(webhookSecretsOf(keys, "other"), []);
    assert.deepEqual(webhookSecretsOf(keys, "nobody"), []);
  });

  it("are refused with every problem named and no secret told", () => {
    const digest = sha256Of("secret-a-of-16-characters");
    const problems = problemsOf(
      JSON.stringify([
        { name: "a b", key: "secret-a-of-16-characters" },
        { name: "both", key: "secret-b-of-16-characters", sha256: digest },
        { name: "neither" },
        { name: "typo", key: "secret-c-of-16-characters", rol: "admin" },
        { name: "worse", sha256: "secret-d", role: "secret-e", weight: -1, rate: 0.5, webhook_secret: 7 },
      ]),
    );
    const named = problems.map((problem) => problem.split(":")[0]);
    const fields = ["0.name", "1", "2", "3", "4.sha256", "4.role", "4.weight", "4.rate", "4.webhook_secret"];
    assert.deepEqual(
      named,
      fields.map((field) => `C3_RENDER_KEYS.${field}`),
    );
    assert.doesNotMatch(problems.join("\n"), new RegExp(`secret-|${digest}`));
  });

  it("are refused when two are the same, and when the file is no JSON", () => {
    const twice = [
      { name: "a", key: "the-secret-of-two" },
      { name: "b", sha256: sha256Of("the-secret-of-two") },
    ];
    assert.deepEqual(problemsOf(JSON.stringify(twice)), ["C3_RENDER_KEYS.1: has the key of entry 0"]);
    const [problem = ""] = problemsOf('[{"key": "secret');
    assert.match(problem, /^C3_RENDER_KEYS: must be JSON/);
    assert.doesNotMatch(problem, /secret/);
  });

  const short = "15-characters..";
  const long = `${short}.`;
  const named = (name: string, key: string): Record<string, string> => ({ [name]: key });
  for (const [where, env, problem] of [
    ["alone", (key) => named("C3_RENDER_API_KEY", key), "C3_RENDER_API_KEY"],
    ["in a file", (key) => named("C3_RENDER_API_KEY_FILE", fileOf(key)), "C3_RENDER_API_KEY"],
    ["of a tenant", (key) => named("C3_RENDER_KEYS", entriesOf(key)), "C3_RENDER_KEYS.0.key"],
    ["of a tenant, in a file", (key) => named("C3_RENDER_KEYS_FILE", fileOf(entriesOf(key))), "C3_RENDER_KEYS.0.key"],
  ] as [string, (key: string) => Record<string, string>, string][]) {
    it(`are refused when they are shorter than 16 characters: ${where}`, () => {
      assert.equal(loadConfig(env(long)).api.requiresKey, true);
      assert.throws(
        () => loadConfig(env(short)),
        (error) => {
          assert.ok(error instanceof ConfigError);
          assert.deepEqual(error.problems, [
            `${problem}: must have 16 characters or more; \`openssl rand -hex 32\` makes one`,
          ]);
          return true;
        },
      );
    });
  }

  const entriesOf = (key: string) => JSON.stringify([{ name: "studio", key }]);
  const fileOf = (text: string) => {
    const file = join(folder, randomUUID());
    writeFileSync(file, text);
    return file;
  };
});
