import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { crc32, deflateSync } from "node:zlib";
import sharp from "sharp";
import { SAMPLE_RATE, wavOf } from "../../src/simulator/media.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

const MEGABYTE = 1024 * 1024;
const MAX_IMAGE_BYTES = 2 * MEGABYTE;
const MAX_AUDIO_BYTES = 3 * MEGABYTE;
const MAX_AUDIO_SECONDS = 20;
const MAX_PORTRAIT_SECONDS = 8;

/** Every field that names an input, with a body that is good but for it. */
const fields = {
  "csm reference_audio_url": ["/csm", { text: "Hi.", voice: "clone", reference_text: "What is said." }],
  "csm audio_url": ["/csm", { text: "Hi.", audio_text: "What is said." }],
  "whisper audio_url": ["/whisper", {}],
  "portrait image_url": ["/portrait", { text: "Hi." }],
  "portrait audio_url": ["/portrait", { image_url: "portrait.jpg" }],
  "portrait reference_audio_url": ["/portrait", { image_url: "portrait.jpg", text: "Hi.", voice: "clone", reference_text: "x" }],
  "analyze image_url": ["/analyze", {}],
  "lipsync image_url": ["/jobs", { audio_url: "voice.wav" }],
  "lipsync video_url": ["/jobs", { audio_url: "voice.wav" }],
  "lipsync audio_url": ["/jobs", { image_url: "portrait.jpg" }],
} as const satisfies Record<string, [string, Record<string, string>]>;
type Field = keyof typeof fields;
const names = Object.keys(fields) as Field[];
const kindOf = (field: Field) => (field.includes("audio") ? "audio" : field.includes("video") ? "video" : "image");
const sounds = names.filter((field) => kindOf(field) === "audio");
const pictures = names.filter((field) => kindOf(field) === "image");

describe("a bad input", () => {
  let stack: TestStack;
  /** What each path is answered with; anything else is not there. */
  const served = new Map<string, { body?: Uint8Array | string; type?: string; status?: number; refusals?: number }>();
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const name = (request.url ?? "").slice(1);
    asked.push(name);
    const found = served.get(name);
    const refused = found?.refusals !== undefined && asked.filter((path) => path === name).length <= found.refusals;
    response.writeHead(refused ? 503 : (found?.status ?? (found === undefined ? 404 : 200)), {
      ...(found?.type !== undefined && { "Content-Type": found.type }),
    });
    response.end(refused ? "busy" : found?.body);
  });
  const origin = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const sample = (name: string) => `${stack.simulator.url}/sim/files/${name}`;

  before(async () => {
    await once(server.listen(0, "127.0.0.1"), "listening");
    const limits = { MAX_IMAGE_BYTES, MAX_AUDIO_BYTES, MAX_AUDIO_SECONDS, MAX_PORTRAIT_SECONDS };
    const env = Object.fromEntries(Object.entries(limits).map(([name, value]) => [name, String(value)]));
    stack = await startTestStack({ env: { ...env, TRUSTED_ORIGINS: origin() } });
    for (const [name, make] of Object.entries(files)) served.set(name, { body: await make() });
    served.set("page", { body: "<!DOCTYPE html><title>Sign in</title>", type: "image/jpeg" });
  });
  after(async () => {
    assert.deepEqual(stack.simulator.instances(), [], "a GPU was paid for a job that could not be done");
    assert.deepEqual(stack.simulator.renders(), []);
    await stack.close();
    server.closeAllConnections();
    await once(server.close(), "close");
  });

  async function submit(field: Field, url: string): Promise<string> {
    const [path, others] = fields[field];
    const given = Object.entries(others).map(([name, value]) => [name, name.endsWith("_url") ? sample(value) : value]);
    const body = { ...Object.fromEntries(given), [nameOf(field)]: url };
    const answer = await stack.post(path, body);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return (answer.body.id ?? answer.body.job_id) as string;
  }

  /** The sentence that the job fails with, after its field; nothing of the job is left then. */
  async function complaintOf(field: Field, url: string): Promise<string> {
    const id = await submit(field, url);
    const { error = "" } = await stack.untilState(id, "failed");
    assert.deepEqual((await stack.get(`/result/${id}`)).body, { id, status: "failed", error });
    assert.ok(error.startsWith(`${nameOf(field)}: `), error);
    assert.equal(await stack.untilClosed(id), "FAILED");
    assert.deepEqual(await stack.storedInputs(id), [], "inputs are left in the store");
    assert.deepEqual(await readdir(stack.config.outputDir).catch(() => []), [], "temporary files are left");
    return error.slice(nameOf(field).length + 2);
  }

  const everywhere = (name: string, says: RegExp) => cases(name, names, says);
  function cases(name: string, of: readonly Field[], says: RegExp): void {
    for (const field of of) {
      it(`${name} as ${field}: ${says.source}`, async () => {
        assert.match(await complaintOf(field, `${origin()}/${name}`), says);
      });
    }
  }

  describe("that is something else", () => {
    everywhere("text.mp3", /^this is text, not (audio|a video|an image that can be read)$/);
    cases("page", ["analyze image_url", "lipsync video_url", "whisper audio_url"], /^this is text\/html, not /);
    cases("picture.jpg", [...sounds], /^(this is image\/jpeg, not audio|there is no sound in it)$/);
    cases("picture.jpg", ["lipsync video_url"], /^this is image\/jpeg, not a video$/);
    cases("sound.wav", pictures, /^this is audio\/wav, not an image that can be read$/);
    cases("sound.wav", ["lipsync video_url"], /^this is audio\/wav, not a video$/);
    cases("empty", ["whisper audio_url", "lipsync video_url", "analyze image_url"], /^this is an empty file, not /);
    cases("byte", ["csm audio_url", "lipsync video_url", "portrait image_url"], /^this is text, not /);
    cases("zeros", ["whisper audio_url", "lipsync video_url", "analyze image_url"], /^this is .*, not /);
    cases("drawing.svg", pictures, /^this is (text|application\/xml), not an image that can be read$/);
    cases("letters.txt", ["whisper audio_url"], /^this is text, not audio$/);
  });

  describe("that leads elsewhere", () => {
    for (const name of ["list.m3u8", "list.ffconcat", "list.pls", "list.sdp", "drawing.mvg"]) {
      cases(name, ["whisper audio_url", "lipsync video_url"], /^this is .*, not (audio|a video)$/);
    }
    it("is not followed", () => {
      assert.ok(!asked.includes("secret.wav"), "a playlist was followed");
    });
  });

  describe("that is broken", () => {
    cases("truncated.jpg", pictures, /^this picture cannot be decoded \(.*\)$/);
    cases("header.png", ["analyze image_url"], /^this picture cannot be decoded \(.*\)$/);
    cases("header.wav", ["whisper audio_url", "portrait audio_url"], /./);
    cases("half.mp4", ["whisper audio_url", "lipsync video_url"], /^this is video\/mp4, not (audio|a video)/);
  });

  describe("that is too much", () => {
    cases("bomb.png", pictures, /^this picture has more than 50 megapixels$/);
    cases("large.jpg", ["portrait image_url", "analyze image_url"], /^it is larger than 2097152 bytes$/);
    cases("large.wav", ["whisper audio_url", "csm audio_url"], /^it is larger than 3145728 bytes$/);
    cases("long.wav", ["whisper audio_url", "lipsync audio_url", "csm audio_url"], /^it is longer than 20 s$/);
    cases("talk.wav", ["portrait audio_url"], /^it is longer than 8 s$/);
  });

  it("a video without sound, where it is listened to: there is no sound in it", async () => {
    for (const field of ["whisper audio_url", "portrait audio_url"] as const) {
      assert.equal(await complaintOf(field, `${origin()}/silent.mp4`), "there is no sound in it");
    }
  });

  describe("that cannot be had", () => {
    cases("none", names, /^the server answered 404$/);

    for (const [what, url, says] of [
      ["an address inside", "http://127.0.0.2/a.wav", /^127\.0\.0\.2 is not a public address$/],
      ["an address of a cloud", "http://169.254.169.254/latest/meta-data", /^169\.254\.169\.254 is not a public address$/],
      ["an address inside, in disguise", "http://[::ffff:127.0.0.2]/a.wav", /is not a public address$/],
    ] as const) {
      it(`${what}: ${says.source}`, async () => {
        for (const field of ["whisper audio_url", "analyze image_url", "lipsync video_url"] as const) {
          assert.match(await complaintOf(field, url), says);
        }
      });
    }

    it("an address that a redirect leads to", async () => {
      const redirecting = createServer((_, response) => response.writeHead(302, { location: "http://127.0.0.2/a" }).end());
      await once(redirecting.listen(0, "127.0.0.1"), "listening");
      redirecting.closeAllConnections();
      await once(redirecting.close(), "close");
    });
  });

  it("only the second of two: the first one is removed again", async () => {
    assert.match(await complaintOf("portrait audio_url", `${origin()}/text.mp3`), /^this is text, not audio$/);
    assert.match(await complaintOf("lipsync audio_url", `${origin()}/none`), /404/);
  });
});

function nameOf(field: Field): string {
  return field.slice(field.indexOf(" ") + 1);
}
