import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SAMPLE_RATE } from "../../../src/simulator/sound/media.ts";
import { speakable } from "../../../src/simulator/sound/speakable.ts";
import { createSpeech, type Speech } from "../../../src/simulator/sound/speech.ts";
import { eventually } from "../../support/eventually.ts";

const LONGEST_PIECE = 160;
const MAX_SECONDS = 10;
/** Nobody is asked for more than one piece beyond what is wanted. */
const PIECE_SECONDS = 60;

/** What was seen to end the process that speaks, and what is like it. */
const strange: [what: string, text: string][] = [
  ["a word of 300 letters and digits", "a1b2c3d4e5".repeat(30)],
  ["a word of 5,000 letters", "ab".repeat(2500)],
  ["a number of 300 digits", "1".repeat(300)],
  ["two hundred short words without a full stop", "word ".repeat(200)],
  ["thousands of lone digits", "1 ".repeat(4000)],
  ["an amount of money that nobody has", `$${"123,456,".repeat(40)}`],
  ["times and dates without end", "12:30/1/2/".repeat(60)],
  ["every sign of a keyboard", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ".repeat(8)],
  ["letters with accents", "Ünïcödé, “quoted”, façade".repeat(20)],
  ["Chinese", "你好世界".repeat(100)],
  ["Cyrillic, Arabic and Thai", "Привет мир. مرحبا بالعالم. สวัสดีชาวโลก."],
  ["letters of mathematics", "𝓗𝓮𝓵𝓵𝓸 𝔀𝓸𝓻𝓵𝓭"],
  ["control characters between the letters", "He\u0000llo\u0007 the\u001bre"],
  ["half of a surrogate pair", "Hello \ud83d there"],
];
const silent: [what: string, text: string][] = [
  ["nothing", ""],
  ["blanks", " \n\t "],
  ["zero-width characters", "\u200b\u200d\u2060\ufeff"],
  ["emoji", "😀👍🏽👨‍👩‍👧"],
];

describe("the simulated voice", () => {
  let folder: string;
  const speeches: Speech[] = [];
  const speech = (program?: string) => {
    const created = createSpeech(program);
    speeches.push(created);
    return created;
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-speech-"));
  });
  afterEach(() => Promise.all(speeches.splice(0).map((created) => created.close())));
  after(() => rm(folder, { recursive: true, force: true }));

  async function program(name: string, lines: string): Promise<string> {
    const path = join(folder, name);
    await writeFile(path, lines);
    return path;
  }

  it("says strange texts, all by one process", async function () {
    this.timeout(120_000);
    const voice = speech();
    await voice.speak("slt", "Hello.");
    const first = voice.processId();
    for (const [what, text] of strange) {
      const sound = await voice.speak("slt", text, MAX_SECONDS);
      assert.ok(
        sound.some((sample) => Math.abs(sample) > 1000),
        `${what} is silent`,
      );
      assert.ok(
        sound.length < (MAX_SECONDS + PIECE_SECONDS) * SAMPLE_RATE,
        `${what} takes ${sound.length / SAMPLE_RATE} s`,
      );
    }
    for (const [what, text] of silent) {
      const sound = await voice.speak("slt", text);
      assert.ok(
        sound.every((sample) => Math.abs(sample) < 1000),
        `${what} is heard`,
      );
      assert.ok(sound.length > 0, what);
    }
    assert.equal(voice.processId(), first);
  });

  it("says short texts as they are, and long ones in pieces", () => {
    assert.deepEqual(speakable("Hello there, it’s me."), ["Hello there, it's me."]);
    for (const [what, text] of strange) {
      const pieces = speakable(text);
      const wrong = pieces.find((piece) => piece.length > LONGEST_PIECE || !/^[ -~]+$/.test(piece));
      assert.equal(wrong, undefined, what);
    }
  });

  it("fails what its process crashes on, and says the rest by another one", async () => {
    const wav = "Buffer.concat([Buffer.from('RIFF----WAVEfmt data'), Buffer.from([2, 0, 0, 0, 7, 0])])";
    const voice = speech(
      await program(
        "crashing.mjs",
        `process.on("message", ({ text }) => {
          if (text === "crash") process.kill(process.pid, "SIGSEGV");
          else if (text === "fail") process.send({ error: "no voice" });
          else if (text === "nonsense") process.send({ pid: 1 });
          else process.send({ wav: new Uint8Array(${wav}) });
        });
        process.on("disconnect", () => process.exit());`,
      ),
    );
    const said = await Promise.allSettled(
      ["one", "crash", "two", "fail", "three", "nonsense", "four"].map((text) => voice.speak("slt", text)),
    );
    const outcomes = said.map((outcome) =>
      outcome.status === "fulfilled" ? [...outcome.value] : outcome.reason.message,
    );
    assert.deepEqual(outcomes, [
      [7],
      "the simulated voice failed: its process ended with SIGSEGV",
      [7],
      "the simulated voice failed: no voice",
      [7],
      "the simulated voice failed: it answered something strange",
      [7],
    ]);
    assert.deepEqual([...(await voice.speak("slt", "one"))], [7]);
  });

  it("says nothing more once it is closed", async () => {
    const voice = speech(await program("silent.mjs", `process.on("message", () => {});`));
    const said = Promise.allSettled([voice.speak("slt", "one"), voice.speak("slt", "two")]);
    await eventually("it runs", () => voice.processId());
    await voice.close();
    assert.deepEqual(
      (await said).map(({ status }) => status),
      ["rejected", "rejected"],
    );
    assert.equal(voice.processId(), undefined);
  });

  it("leaves no process behind when its own is killed", async () => {
    const source = new URL("../../../src/simulator/sound/speech.ts", import.meta.url).href;
    const script = `const { createSpeech } = await import(${JSON.stringify(source)});
      setInterval(() => {}, 1000);
      const voice = createSpeech();
      await voice.speak("slt", "Hello.");
      console.log(voice.processId());`;
    const parent = spawn(process.execPath, ["--import", "tsx", await program("parent.mjs", script)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(parent.stdout, "data")) as [Buffer];
    const child = Number(line.toString());
    assert.ok(isAlive(child));
    parent.kill("SIGKILL");
    await eventually("it has ended", () => !isAlive(child));
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
