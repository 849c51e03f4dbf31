import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { prepareSound } from "../../../src/activities/inputs/sound.ts";
import type { Prepared } from "../../../src/activities/inputs/staged.ts";
import type { InputKind } from "../../../src/jobs/inputs.ts";
import { createMediaTools, type MediaTools } from "../../../src/media/ffmpeg.ts";
import { withoutJunk } from "../../../src/media/junk.ts";
import { createMedia, SAMPLE_RATE, wavOf } from "../../../src/simulator/sound/media.ts";
import { ffmpeg, h264, makeFolder, testPicture } from "../../media/support.ts";

const { signal } = new AbortController();
const MAX_SECONDS = 20;
const NO_PATHS = { ffmpegPath: undefined, ffprobePath: undefined };

/** The programs of the package, and those of this machine if it has any. */
const environments: Record<string, NodeJS.ProcessEnv> = { "of the package": { PATH: "" } };
const onPath = (name: string) =>
  (process.env.PATH ?? "").split(delimiter).some((folder) => folder !== "" && existsSync(join(folder, name)));
if (onPath("ffmpeg") && onPath("ffprobe")) environments["of the PATH"] = { PATH: process.env.PATH };

const tone = (seconds: number) => ["-f", "lavfi", "-i", `sine=440:d=${seconds}:r=44100`];
const silence = (seconds: number) => ["-f", "lavfi", "-t", `${seconds}`, "-i", "anullsrc=r=44100:cl=stereo"];
/** Equal tones on so many channels. */
const channels = (count: number, layout = "") => [
  ...["-f", "lavfi", "-i"],
  `aevalsrc=${Array(count).fill("0.1*sin(t*2765)").join("|")}:d=3${layout === "" ? "" : `:c=${layout}`}`,
];
const opposite = (part: number) => ["-af", `pan=stereo|c0=c0|c1=-${part}*c0`];

/** A file that people send: how it is made, and what comes of it, as sound and as a voice. */
interface Case {
  make: string[];
  /** Changes the file that was made. */
  change?: (file: Buffer) => Buffer;
  seconds?: number;
  /** When the tone begins. */
  begins?: number;
  channels?: 1 | 2;
  /** Only with the programs of the PATH. */
  notPackaged?: true;
}

const cases: Record<string, Case> = {
  "two tracks, the first silent (m4a)": {
    make: [...silence(3), ...tone(3), "-map", "0", "-map", "1", "-c:a", "aac", "two.m4a"],
    channels: 1,
  },
  "two tracks, the first silent (screen recording)": {
    make: [
      ...[...silence(3), ...tone(3), ...testPicture(3), "-map", "2", "-map", "0", "-map", "1"],
      ...[...h264, "-c:a", "aac", "screen.mkv"],
    ],
  },
  "three tracks, the last one default and silent": {
    make: [
      ...[...tone(3), ...silence(3), ...silence(3), "-map", "0", "-map", "1", "-map", "2", "-c:a", "libopus"],
      ...["-disposition:a:0", "0", "-disposition:a:1", "0", "-disposition:a:2", "default", "three.mkv"],
    ],
  },
  "a second track that nobody can decode (iPhone)": {
    make: [...tone(3), ...tone(3), "-map", "0", "-map", "1", "-c:a", "aac", "iphone.mov"],
    change: (file) => unknown(file, file.lastIndexOf("mp4a")),
  },
  "a first track that nobody can decode": {
    make: [...tone(3), ...tone(3), "-map", "0", "-map", "1", "-c:a", "aac", "first.mov"],
    change: (file) => unknown(file, file.indexOf("mp4a")),
  },
  "opposite channels": { make: [...tone(3), ...opposite(1), "opposite.wav"], channels: 1 },
  "partly opposite channels": { make: [...tone(3), ...opposite(0.7), "partly.wav"], channels: 1 },
  "channels that are opposite for a while": {
    make: [
      ...["-f", "lavfi", "-i", "aevalsrc=0.1*sin(t*2765)|if(gt(t\\,2)\\,-0.1\\,0.1)*sin(t*2765):d=3"],
      "while.wav",
    ],
    channels: 1,
  },
  "a voice on the left only": { make: [...tone(3), "-af", "pan=stereo|c0=c0|c1=0*c0", "left.wav"], channels: 2 },
  "sound that begins at 2 s (mp4)": {
    make: [...testPicture(5), "-itsoffset", "2", ...tone(3), ...h264, "-c:a", "aac", "late.mp4"],
    seconds: 5,
    begins: 2,
  },
  "sound that begins at 2 s (webm)": {
    make: [...testPicture(5), "-itsoffset", "2", ...tone(3), "-c:v", "libvpx", "-c:a", "libopus", "late.webm"],
    seconds: 5,
    begins: 2,
  },
  "8 bits": { make: [...tone(3), "-c:a", "pcm_u8", "u8.wav"] },
  "float WAV": { make: [...tone(3), "-c:a", "pcm_f32le", "float.wav"] },
  "24 bits": { make: [...tone(3), "-c:a", "pcm_s24le", "s24.wav"] },
  "telephone WAV": { make: [...tone(3), "-ar", "8000", "-c:a", "pcm_mulaw", "mulaw.wav"] },
  "a low rate": { make: [...tone(3), "-ar", "7350", "low.wav"] },
  "a high rate": { make: [...tone(3), "-ar", "192000", "high.flac"] },
  "5.1": { make: [...channels(6, "5.1"), "six.wav"], channels: 2 },
  "5.1 in AAC": { make: [...channels(6, "5.1"), "-c:a", "aac", "six.m4a"], channels: 2 },
  "7.1": { make: [...channels(8, "7.1"), "eight.wav"], channels: 2 },
  "three channels that belong nowhere": { make: [...channels(3), "three.wav"], channels: 2 },
  "eleven channels that belong nowhere": { make: [...channels(11), "eleven.wav"], channels: 2 },
  "a WAV that was streamed (size 0)": { make: [...tone(3), "size0.wav"], change: (file) => sized(file, 0) },
  "a WAV that was streamed (size unknown)": {
    make: [...tone(3), "sizef.wav"],
    change: (file) => sized(file, 0xffffffff),
  },
  "a WAV after a byte order mark": {
    make: [...tone(3), "bom.wav"],
    change: (file) => Buffer.concat([Buffer.from("\ufeff\r\n"), file]),
  },
  "an MP4 in the form that it was sent in": {
    make: [...tone(3), "-c:a", "aac", "form.m4a"],
    change: (file) =>
      Buffer.concat([
        Buffer.from('------form\r\nContent-Disposition: form-data; name="file"\r\n\r\n'),
        file,
        Buffer.from("\r\n------form--\r\n"),
      ]),
  },
  "an MP3 after other things": {
    make: [...tone(3), "other.mp3"],
    change: (file) => Buffer.concat([Buffer.from("HTTP/1.1 200 OK\r\n\r\n"), file]),
  },
  "an MP3 without its end": { make: [...tone(3.2), "cut.mp3"], change: (file) => file.subarray(0, -1000) },
  "a fragmented MP4": { make: [...tone(3), "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "frag.mp4"] },
  "raw AAC": { make: [...tone(3), "-c:a", "aac", "raw.aac"] },
  "Opus in Ogg": { make: [...tone(3), "-c:a", "libopus", "opus.ogg"] },
  "Opus in WebM": { make: [...tone(3), "-c:a", "libopus", "opus.webm"] },
  Vorbis: { make: [...tone(3), "-c:a", "libvorbis", "vorbis.ogg"] },
  Speex: { make: [...tone(3), "-ar", "16000", "-c:a", "libspeex", "speex.spx"] },
  AMR: { make: [...tone(3), "-ar", "8000", "-c:a", "libopencore_amrnb", "sound.amr"] },
  "an audio book": { make: [...tone(3), "-c:a", "aac", "-f", "ipod", "book.m4b"] },
  AIFF: { make: [...tone(3), "sound.aiff"] },
  CAF: { make: [...tone(3), "sound.caf"] },
  ALAC: { make: [...tone(3), "-c:a", "alac", "alac.m4a"] },
  WMA: { make: [...tone(3), "sound.wma"] },
  "AC-3": { make: [...tone(3), "sound.ac3"] },
  "3GP": { make: [...tone(3), "-c:a", "aac", "sound.3gp"] },
  AVI: { make: [...testPicture(3), ...tone(3), ...h264, "-c:a", "libmp3lame", "sound.avi"] },
  FLV: { make: [...tone(3), "-c:a", "aac", "sound.flv"] },
  MPEG: { make: [...tone(3), "-c:a", "mp2", "sound.mpg"] },
  "MPEG-TS": { make: [...testPicture(3), ...tone(3), ...h264, "-c:a", "aac", "sound.ts"], notPackaged: true },
  "MPEG-TS of sound": { make: [...tone(3), "-c:a", "aac", "radio.ts"], notPackaged: true },
};

for (const [whose, env] of Object.entries(environments)) {
  describe(`sound that people send, with the programs ${whose}`, () => {
    let folder: string;
    let remove: () => Promise<void>;
    let media: MediaTools;

    before(async () => {
      ({ folder, remove } = await makeFolder());
      media = await createMediaTools(NO_PATHS, env);
    });
    after(() => remove());

    async function make(args: string[], change = (file: Buffer) => file): Promise<string> {
      const path = join(folder, args.at(-1)!);
      await ffmpeg(...args.slice(0, -1), path);
      await writeFile(path, change(await readFile(path)));
      return await withoutJunk(path, `${path}.clean`, signal);
    }

    async function prepare(original: string, kind: InputKind = "sound", maxSeconds = MAX_SECONDS): Promise<Prepared> {
      const input = { name: "audio", field: "audio_url", kind, source: { url: "" } } as const;
      return await prepareSound({ input, original, target: join(folder, "job"), media, maxSeconds, signal });
    }

    for (const [what, wanted] of Object.entries(cases)) {
      if (wanted.notPackaged && env.PATH === "") continue;
      it(what, async () => {
        const original = await make(wanted.make, wanted.change);
        const { seconds = 3, begins = 0 } = wanted;
        const sound = await prepare(original);
        const pcm = await createMedia().decode(sound.path);
        assert.ok(Math.abs(sound.durationSeconds! - seconds) < 0.25, `${sound.durationSeconds} s`);
        assert.ok(Math.abs(pcm.length / SAMPLE_RATE - seconds) < 0.35, `${pcm.length / SAMPLE_RATE} s in the file`);
        // A model mixes it: nothing may be lost then.
        assert.ok(loudness(pcm, begins + 0.2, seconds - 0.3) > -40, "it is silent");
        if (begins > 0) assert.ok(loudness(pcm, 0, begins - 0.2) < -50, "it is early");
        if (wanted.channels !== undefined) assert.equal(await createMedia().channels(sound.path), wanted.channels);

        const voice = await prepare(original, "voice");
        const spoken = await createMedia().decode(voice.path);
        assert.equal(await createMedia().channels(voice.path), 1);
        assert.ok(Math.abs(voice.durationSeconds! - (seconds - begins)) < 0.4, `${voice.durationSeconds} s of voice`);
        assert.ok(loudness(spoken, 0.2, seconds - begins - 0.3) > -40, "the voice is silent");
      });
    }

    it("is as long as what is in it, not as a container guesses", async () => {
      // Quiet at first, and without an index: from its first frames it seems to last for ever.
      const quiet = "aevalsrc=if(lt(t\\,5)\\,0\\,0.4*sin(t*2765)+0.3*sin(t*t*300)):d=15";
      const vbr = ["-c:a", "libmp3lame", "-q:a", "0", "-write_xing", "0", "vbr.mp3"];
      const original = await make(["-f", "lavfi", "-i", quiet, ...vbr]);
      const guess = (await media.probe(original, signal))?.durationSeconds ?? 0;
      assert.ok(guess > MAX_SECONDS, `it is no proof: ${guess} s`);
      assert.ok(Math.abs((await prepare(original, "portraitSound")).durationSeconds! - 15) < 0.2);
    });

    it("may be as long as is allowed, and not longer", async () => {
      const just = await make([...tone(4), "just.wav"]);
      const { path, durationSeconds } = await prepare(just, "portraitSound", 4);
      assert.equal(durationSeconds, 3.9);
      assert.ok((await media.probe(path, signal))!.durationSeconds! <= 4, "the node would find it too long");
      const longer = await make([...tone(4.5), "longer.wav"]);
      await assert.rejects(prepare(longer, "portraitSound", 4), { message: "audio_url: it is longer than 4 s" });
    });

    it("may be silent, but for a voice", async () => {
      const silent = await make([...silence(3), "silent.wav"]);
      assert.equal((await prepare(silent)).durationSeconds, 3);
      await assert.rejects(prepare(silent, "voice"), { message: "audio_url: nothing is to be heard in it" });
      const word = await make([...tone(0.4), "word.wav"]);
      await assert.rejects(prepare(word, "voice"), /audio_url: it is too short for a voice: 1 s of speech is needed/);
    });

    it("that nobody can decode says so", async () => {
      const only = await make([...tone(2), "-c:a", "aac", "only.mov"], (file) => unknown(file, file.indexOf("mp4a")));
      await assert.rejects(prepare(only), { name: "FileRefused" });
    });
  });
}

describe("a reference of a voice", () => {
  let folder: string;
  let remove: () => Promise<void>;
  let media: MediaTools;

  before(async () => {
    ({ folder, remove } = await makeFolder());
    media = await createMediaTools(NO_PATHS, process.env);
  });
  after(() => remove());

  /** Words of 0.3 s with 0.2 s between them, and 0.6 s after every 8 s of them, from `lead` seconds on. */
  async function recording(seconds: number, lead: number): Promise<string> {
    const isWord = (at: number) => at < 8 && at % 0.5 < 0.3;
    const round = Int16Array.from({ length: 8.6 * SAMPLE_RATE }, (_, index) =>
      isWord(index / SAMPLE_RATE) ? 8000 * Math.sin(index / 6) : 20 * Math.sin(index),
    );
    const sound = new Int16Array(seconds * SAMPLE_RATE);
    for (let at = lead * SAMPLE_RATE; at < sound.length; at += round.length) {
      sound.set(round.subarray(0, sound.length - at), at);
    }
    const path = join(folder, `${seconds}.wav`);
    await writeFile(path, wavOf(sound));
    return path;
  }

  for (const [seconds, lead] of [
    [300, 4],
    [3600, 40],
  ] as const) {
    it(`of ${seconds} s is cut to what the model can use, at a pause`, async () => {
      const input = { name: "reference_audio", field: "audio_url", kind: "voice", source: { url: "" } } as const;
      const original = await recording(seconds, lead);
      const { path, durationSeconds, wholeSeconds, startSeconds } = await prepareSound({
        ...{ input, original, target: join(folder, "job"), media },
        ...{ maxSeconds: 3600, signal },
      });
      assert.ok(Math.abs(startSeconds! - (lead - 0.1)) < 0.05, `it starts at ${startSeconds}`);
      assert.ok(Math.abs(wholeSeconds! - (seconds - lead)) < 1, `${wholeSeconds} s as a whole`);
      // Three times 8 s of words and two pauses, and the beginning of the third.
      assert.ok(Math.abs(durationSeconds! - (0.1 + 3 * 8.6 - 0.8 + 0.25)) < 0.1, `${durationSeconds} s are kept`);
      const pcm = await createMedia().decode(path);
      assert.ok(Math.abs(pcm.length / SAMPLE_RATE - durationSeconds!) < 0.1);
      assert.ok(loudness(pcm, durationSeconds! - 0.15, durationSeconds!) < -40, "it ends in a word");
      assert.ok(loudness(pcm, 0.15, 0.35) > -20, "it begins with silence");
    });
  }
});

/** Root mean square between two moments, in dB of full scale. */
function loudness(pcm: Int16Array, from: number, to: number): number {
  const part = pcm.subarray(Math.floor(from * SAMPLE_RATE), Math.floor(to * SAMPLE_RATE));
  const square = part.reduce((sum, sample) => sum + (sample / 32768) ** 2, 0) / part.length;
  return 10 * Math.log10(Math.max(square, 1e-12));
}

/** Makes the track of an MP4 whose entry is there one of Apple's spatial sound. */
function unknown(file: Buffer, entry: number): Buffer {
  file.write("apac", entry, "latin1");
  file.write("dapa", file.indexOf("esds", entry), "latin1");
  return file;
}

/** A WAV that says of its data that it is so long, as a program does that does not know yet. */
function sized(file: Buffer, bytes: number): Buffer {
  file.writeUInt32LE(bytes, file.indexOf("data") + 4);
  file.writeUInt32LE(bytes, 4);
  return file;
}
