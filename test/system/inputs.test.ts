import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { crc32, deflateSync } from "node:zlib";
import ffmpegInstaller from "@ffmpeg-installer/ffmpeg";
import sharp from "sharp";
import { SAMPLE_RATE, wavOf } from "../../src/simulator/sound/media.ts";
import { eventually } from "../support/eventually.ts";
import { png } from "../support/png.ts";
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
  "portrait reference_audio_url": [
    "/portrait",
    { image_url: "portrait.jpg", text: "Hi.", voice: "clone", reference_text: "x" },
  ],
  "analyze image_url": ["/analyze", {}],
  "lipsync image_url": ["/jobs", { audio_url: "voice.wav" }],
  "lipsync video_url": ["/jobs", { audio_url: "voice.wav" }],
  "lipsync audio_url": ["/jobs", { image_url: "portrait.jpg" }],
} as const satisfies Record<string, [string, Record<string, string>]>;
interface Served {
  status?: number;
  headers?: Record<string, string>;
  body?: Uint8Array | string | undefined;
  /** How often it is busy first, and what it answers then. */
  refusals?: number;
  refusal?: number;
  /** It stays like this. */
  endless?: boolean;
}

type Field = keyof typeof fields;
const names = Object.keys(fields) as Field[];
const kindOf = (field: Field) => (field.includes("audio") ? "audio" : field.includes("video") ? "video" : "image");
const sounds = names.filter((field) => kindOf(field) === "audio");
const pictures = names.filter((field) => kindOf(field) === "image");

describe("a bad input", () => {
  let stack: TestStack;
  /** What each path is answered with; anything else is not there. */
  const served = new Map<string, Served>();
  const asked: string[] = [];
  /** What nobody waits for any more. */
  const left: string[] = [];
  const server = createServer((request, response) => {
    const [name = ""] = (request.url ?? "").slice(1).split("?");
    asked.push(name);
    const { status, headers, body, refusals = 0, refusal = 503, endless = false } = served.get(name) ?? { status: 404 };
    if (asked.filter((path) => path === name).length <= refusals) response.writeHead(refusal).end("busy");
    else if (endless) response.writeHead(200, headers).write(body);
    else response.writeHead(status ?? 200, headers).end(body);
    if (endless) response.once("close", () => left.push(name));
  });
  const origin = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const sample = (name: string) => `${stack.simulator.url}/sim/files/${name}`;

  before(async () => {
    await once(server.listen(0, "127.0.0.1"), "listening");
    const limits = { MAX_IMAGE_BYTES, MAX_AUDIO_BYTES, MAX_AUDIO_SECONDS, MAX_PORTRAIT_SECONDS };
    const env = Object.fromEntries(Object.entries(limits).map(([name, value]) => [name, String(value)]));
    stack = await startTestStack({ env: { ...env, TRUSTED_ORIGINS: origin() } });
    for (const [name, body] of Object.entries(await makeFiles(origin()))) served.set(name, { body });
    served.set("page", { body: "<!DOCTYPE html><title>Sign in</title>", headers: { "Content-Type": "image/jpeg" } });
    served.set("inside", { status: 302, headers: { Location: "http://127.0.0.2/a" } });
    served.set("circle", { status: 302, headers: { Location: `${origin()}/circle` } });
    served.set("endless.wav", { body: served.get("sound.wav")?.body, endless: true });
    served.set("late.wav", { body: served.get("sound.wav")?.body, refusals: 1, refusal: 408 });
    served.set("turned.heic", { body: await readFile(new URL("../media/files/turned.heic", import.meta.url)) });
    served.set("busy.wav", { body: served.get("sound.wav")?.body, refusals: 2 });
  });
  after(async () => {
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

  const used = () => ({ instances: stack.simulator.instances().length, renders: stack.simulator.renders().length });

  /** The sentence that the job fails with, after its field; nothing of the job is left then. */
  async function complaintOf(field: Field, url: string): Promise<string> {
    const before = used();
    const id = await submit(field, url);
    const { error = "" } = await stack.untilState(id, "failed");
    assert.deepEqual((await stack.get(`/result/${id}`)).body, { id, status: "failed", error });
    assert.ok(error.startsWith(`${nameOf(field)}: `), error);
    assert.equal(await stack.untilClosed(id), "FAILED");
    assert.deepEqual(await stack.storedInputs(id), [], "inputs are left in the store");
    assert.deepEqual(await readdir(stack.config.outputDir).catch(() => []), [], "temporary files are left");
    assert.deepEqual(used(), before, "a GPU was used for a job that could not be done");
    return error.slice(nameOf(field).length + 2);
  }

  const everywhere = (name: string, says: RegExp) => cases(name, names, says);
  function cases(name: string, of: readonly Field[], says: RegExp): void {
    for (const field of of) {
      it(`${name}, as ${field}`, async () => {
        assert.match(await complaintOf(field, `${origin()}/${name}`), says);
      });
    }
  }

  describe("that is something else", () => {
    everywhere("text.mp3", /^this is text, not (audio|a video|an image that can be read)$/);
    cases("page", ["analyze image_url", "lipsync video_url", "whisper audio_url"], /^this is text\/html, not /);
    cases("picture.jpg", sounds, /^this is image\/jpeg, not audio$/);
    cases("picture.jpg", ["lipsync video_url"], /^this is image\/jpeg, not a video$/);
    cases("sound.wav", pictures, /^this is audio\/wav, not an image that can be read$/);
    cases("sound.wav", ["lipsync video_url"], /^there are no moving pictures in it$/);
    cases("empty", ["whisper audio_url", "lipsync video_url", "analyze image_url"], /^this is an empty file, not /);
    cases("byte", ["csm audio_url", "lipsync video_url", "portrait image_url"], /^this is text, not /);
    cases(
      "zeros",
      ["whisper audio_url", "lipsync video_url", "analyze image_url"],
      /^this is data of an unknown kind, not /,
    );
    cases("drawing.svg", pictures, /^this is (text|application\/xml), not an image that can be read$/);
    cases("letters.txt", ["whisper audio_url"], /^this is text, not audio$/);
  });

  describe("that leads elsewhere", () => {
    for (const name of ["list.m3u8", "list.ffconcat", "list.pls", "list.sdp"]) {
      cases(name, ["whisper audio_url", "lipsync video_url"], /^this is .*, not (audio|a video)$/);
    }
    cases("linking.svg", ["analyze image_url"], /^this is .*, not an image that can be read$/);
    it("is not followed", () => {
      assert.ok(!asked.includes("secret.wav"), "somebody else's file was asked for");
    });
  });

  describe("that is broken", () => {
    cases("truncated.jpg", pictures, /^this picture cannot be decoded \(.*\)$/);
    cases("header.png", ["analyze image_url"], /^this picture cannot be decoded \(.*\)$/);
    cases("header.wav", ["whisper audio_url", "portrait audio_url"], /^there is no sound in it$/);
    cases("start.mp4", ["whisper audio_url", "lipsync video_url"], /^this video\/mp4 file cannot be read$/);
    cases("header.flac", ["csm reference_audio_url"], /^this audio\/(x-)?flac file cannot be read$/);
  });

  describe("that is too much", () => {
    cases("bomb.png", pictures, /^this picture has more than 50 megapixels$/);
    cases("large.jpg", ["portrait image_url", "analyze image_url"], /^it is larger than 2097152 bytes$/);
    cases("large.wav", ["whisper audio_url", "csm audio_url"], /^it is larger than 3145728 bytes$/);
    cases("long.wav", ["whisper audio_url", "lipsync audio_url", "csm audio_url"], /^it is longer than 20 s$/);
    cases("long.mp4", ["lipsync video_url", "whisper audio_url"], /^it is longer than 20 s$/);
    cases("talk.wav", ["portrait audio_url"], /^it is longer than 8 s$/);
  });

  describe("that is too little", () => {
    cases("small.jpg", ["portrait image_url", "lipsync image_url"], /^this picture is too small: 32×24 pixels/);
    cases("small.jpg", ["analyze image_url"], /^this picture is too small: 32×24 .* needs 32 at least$/);
    cases("narrow.png", pictures, /^this picture is too long and narrow: \d+×\d+ pixels as it is used/);
    cases("dot.png", pictures, /^this picture is too small/);
    cases("hair.png", pictures, /^this picture is too long and narrow/);
    cases("small.mp4", ["lipsync video_url"], /^its pictures are too small or too narrow: 32×24 pixels/);
    cases("narrow.mp4", ["lipsync video_url"], /^its pictures are too small or too narrow: 1600×64 pixels/);
    cases("word.wav", ["csm audio_url"], /^it is too short for a voice: 1 s of speech is needed at least$/);
    cases("nothing.wav", ["csm reference_audio_url"], /^nothing is to be heard in it$/);
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
      [
        "an address of a cloud",
        "http://169.254.169.254/latest/meta-data",
        /^169\.254\.169\.254 is not a public address$/,
      ],
      ["an address inside, in disguise", "http://[::ffff:127.0.0.2]/a.wav", /is not a public address$/],
    ] as const) {
      it(what, async () => {
        for (const field of ["whisper audio_url", "analyze image_url", "lipsync video_url"] as const) {
          assert.match(await complaintOf(field, url), says);
        }
      });
    }

    cases("inside", ["csm audio_url", "portrait image_url"], /^127\.0\.0\.2 is not a public address$/);
    cases("circle", ["whisper audio_url"], /redirects more than 10 times$/);
  });

  it("only the second of two: the first one is removed again", async () => {
    assert.match(await complaintOf("portrait audio_url", `${origin()}/text.mp3`), /^this is text, not audio$/);
    assert.match(await complaintOf("lipsync audio_url", `${origin()}/none`), /404/);
  });

  it("that does not come to an end is not waited for when the job is cancelled", async () => {
    const id = await submit("lipsync audio_url", `${origin()}/endless.wav`);
    await eventually("it is downloaded", () => asked.includes("endless.wav"));
    await stack.post(`/job/${id}`, { status: "cancelled" });
    assert.equal(await stack.untilClosed(id), "CANCELLED");
    await eventually("the download ends", () => left.includes("endless.wav"));
    assert.deepEqual(await stack.storedInputs(id), []);
    assert.deepEqual(await readdir(stack.config.outputDir), []);
  });

  describe("that is good after all", () => {
    const good: [Field, string][] = [
      ["portrait image_url", "turned.heic"],
      ["analyze image_url", "turned.heic"],
      ["lipsync image_url", "turned.heic"],
      ["portrait image_url", "cut.jpg"],
      ["analyze image_url", "moving.png"],
      ["analyze image_url", "after.jpg"],
      ["whisper audio_url", "tracks.m4a"],
      ["csm audio_url", "opposite.wav"],
      ["whisper audio_url", "streamed.wav"],
      ["whisper audio_url", "late.wav"],
      ["whisper audio_url", `sound.wav?token=${"t".repeat(8000)}`],
    ];
    for (const [field, name] of good) {
      it(`${name.slice(0, 20)}, as ${field}`, async () => {
        const id = await submit(field, `${origin()}/${name}`);
        await stack.untilState(id, "success");
      });
    }
  });

  it("is asked for again when its server answers 503", async () => {
    const id = await submit("whisper audio_url", `${origin()}/busy.wav`);
    await stack.untilState(id, "success");
    assert.equal(asked.filter((path) => path === "busy.wav").length, 3);
  });
});

describe("an input on a worker whose ffmpeg fails", () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-programs-"));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** @param script what becomes of a call for an input; the simulator has calls of its own, which go well */
  async function transcribe(script: string, state: "success" | "failed") {
    const program = join(folder, "ffmpeg");
    const ours = `case "$*" in *-format_whitelist*) ${script};; esac`;
    await writeFile(program, `#!/bin/sh\n${ours}\nexec '${ffmpegInstaller.path}' "$@"\n`, { mode: 0o755 });
    const stack = await startTestStack({ env: { FFMPEG_PATH: program } });
    try {
      const audioUrl = `${stack.simulator.url}/sim/files/voice.wav`;
      const { body } = await stack.post("/whisper", { audio_url: audioUrl });
      const { error } = await stack.untilState(body.id as string, state);
      return { error, renders: stack.simulator.renders().length };
    } finally {
      await stack.close();
    }
  }

  it("is prepared again when it was killed", async () => {
    const once = `[ -e '${folder}/killed' ] || { touch '${folder}/killed'; kill -KILL $$; }`;
    assert.equal((await transcribe(once, "success")).renders, 1);
  });

  it("is not what is complained about in the end", async () => {
    const { error, renders } = await transcribe("exit 255", "failed");
    assert.equal(error, "audio_url: could not be prepared on this worker (ffmpeg could not do its work)");
    assert.equal(renders, 0);
  });
});

function nameOf(field: Field): string {
  return field.slice(field.indexOf(" ") + 1);
}

async function makeFiles(origin: string): Promise<Record<string, Uint8Array | string>> {
  const picture = await sharp({ create: { width: 64, height: 48, channels: 3, background: "#3060c0" } })
    .jpeg()
    .toBuffer();
  const noise = { type: "gaussian", mean: 128, sigma: 30 } as const;
  const photo = await sharp({ create: { width: 640, height: 480, channels: 3, background: "black", noise } })
    .jpeg()
    .toBuffer();
  const sound = (seconds: number) =>
    wavOf(Int16Array.from({ length: SAMPLE_RATE * seconds }, (_, index) => 9000 * Math.sin(index / 6)));
  const secret = `${origin}/secret.wav`;
  const face = await sharp(picture).resize(128, 96).jpeg().toBuffer();
  const small = await sharp(picture).resize(32, 24).jpeg().toBuffer();
  const clip = await video(["-t", "1"], face);
  return {
    "text.mp3": "This is no sound at all.\n",
    // A letter of two bytes lies across the end of what is looked at.
    "letters.txt": `-${"é".repeat(2000)}`,
    "picture.jpg": picture,
    "sound.wav": sound(2),
    empty: "",
    byte: "x",
    zeros: Buffer.alloc(5000),
    "drawing.svg":
      '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    "linking.svg": `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="${secret}" width="9" height="9"/></svg>`,
    "list.m3u8": `#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n${secret}\n#EXT-X-ENDLIST\n`,
    "list.ffconcat": `ffconcat version 1.0\nfile '${secret}'\n`,
    "list.pls": `[playlist]\nFile1=${secret}\nNumberOfEntries=1\nVersion=2\n`,
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "truncated.jpg": photo.subarray(0, photo.length / 2),
    "header.png": png(64, 48, Buffer.alloc(0)),
    "header.wav": sound(0),
    "start.mp4": clip.subarray(0, 200),
    "header.flac": Buffer.concat([Buffer.from("fLaC"), Buffer.alloc(500, 0xff)]),
    "bomb.png": png(20_000, 20_000, deflateSync(Buffer.alloc(20_000 * (1 + 20_000 / 8)))),
    "large.jpg": Buffer.concat([picture, Buffer.alloc(MAX_IMAGE_BYTES)]),
    "large.wav": Buffer.concat([sound(1), Buffer.alloc(MAX_AUDIO_BYTES)]),
    "long.wav": sound(MAX_AUDIO_SECONDS + 1),
    "talk.wav": sound(MAX_PORTRAIT_SECONDS + 1),
    "silent.mp4": clip,
    "long.mp4": await video(
      ["-f", "lavfi", "-i", "anullsrc=r=16000", "-t", `${MAX_AUDIO_SECONDS + 1}`, "-c:a", "aac"],
      face,
    ),
    "cut.jpg": photo.subarray(0, -200),
    "after.jpg": Buffer.concat([Buffer.from("\r\n"), photo]),
    "moving.png": moving(await solid(100, 80)),
    "tracks.m4a": await encoded("tracks.m4a", [
      ...["-f", "lavfi", "-t", "2", "-i", "anullsrc=r=44100", "-f", "lavfi", "-i", "sine=d=2"],
      ...["-map", "0", "-map", "1", "-c:a", "aac"],
    ]),
    "opposite.wav": await encoded("opposite.wav", [
      "-f",
      "lavfi",
      "-i",
      "sine=d=2",
      "-af",
      "pan=stereo|c0=c0|c1=-1*c0",
    ]),
    "streamed.wav": streamed(sound(2)),
    "small.jpg": small,
    "small.mp4": await video(["-t", "1"], small),
    "narrow.png": await solid(5000, 10),
    "dot.png": await solid(1, 1),
    "hair.png": await solid(1, 5000),
    "narrow.mp4": await video(["-t", "1"], await sharp(picture).resize(1600, 64, { fit: "fill" }).jpeg().toBuffer()),
    "word.wav": sound(0.3),
    "nothing.wav": wavOf(new Int16Array(2 * SAMPLE_RATE)),
  };
}

function solid(width: number, height: number): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: "#3060c0" } })
    .png()
    .toBuffer();
}

/** A picture as a video. */
async function video(args: string[], picture: Buffer): Promise<Buffer> {
  const still = ["-loop", "1", "-r", "5", "-i", "still.jpg"];
  return await encoded("video.mp4", [...still, ...args, "-pix_fmt", "yuv420p"], picture);
}

/** What ffmpeg makes; `still.jpg` is the picture. */
async function encoded(name: string, args: string[], picture?: Buffer): Promise<Buffer> {
  const cwd = await mkdtemp(join(tmpdir(), "c3-render-inputs-"));
  try {
    if (picture !== undefined) await writeFile(join(cwd, "still.jpg"), picture);
    await promisify(execFile)(ffmpegInstaller.path, ["-v", "error", ...args, name], { cwd });
    return await readFile(join(cwd, name));
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}

/** A WAV whose writer did not know how long it would be. */
function streamed(wav: Buffer): Buffer {
  wav.writeUInt32LE(0xffffffff, 40);
  return wav;
}

/** The PNG as the first frame of an animation. */
function moving(still: Buffer): Buffer {
  const control = Buffer.concat([Buffer.from("acTL"), Buffer.from([0, 0, 0, 1, 0, 0, 0, 0])]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(8);
  sum.writeUInt32BE(crc32(control));
  return Buffer.concat([still.subarray(0, 33), length, control, sum, still.subarray(33)]);
}
