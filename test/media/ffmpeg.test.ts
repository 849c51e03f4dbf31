import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import ffmpegInstaller from "@ffmpeg-installer/ffmpeg";
import ffprobeInstaller from "@ffprobe-installer/ffprobe";
import { MEDIA_LIMITS } from "../../src/media/confinement.ts";
import { createMediaTools, type MediaTools, type Mp3Options } from "../../src/media/ffmpeg.ts";
import { run } from "../../src/media/program.ts";
import { Progress } from "../../src/media/progress.ts";
import { FileRefused, ToolTrouble } from "../../src/media/verdict.ts";
import { prlimitPath } from "../../src/process/processLimits.ts";
import { createMedia, SAMPLE_RATE, wavOf } from "../../src/simulator/sound/media.ts";
import { eventually } from "../support/eventually.ts";
import { ffmpeg, h264, makeFolder, testPicture, testSound } from "./support.ts";

const PACKAGED = { ffmpegPath: undefined, ffprobePath: undefined };
const { signal } = new AbortController();

/** The programs of the package, and those of this machine if it has any. */
const environments: Record<string, NodeJS.ProcessEnv> = { "of the package": { PATH: "" } };
const onPath = (name: string) =>
  (process.env.PATH ?? "").split(delimiter).some((folder) => folder !== "" && existsSync(join(folder, name)));
if (onPath("ffmpeg") && onPath("ffprobe")) {
  environments["of the PATH"] = { PATH: process.env.PATH };
}

const noTrack = { index: 0, channels: 1, sampleRate: 16_000, hasLayout: true, isKnown: true, isDefault: true };
const tone = (seconds: number) =>
  new Int16Array(SAMPLE_RATE * seconds).map((_, index) => 8000 * Math.sin((index * 2 * Math.PI * 440) / SAMPLE_RATE));

for (const [whose, env] of Object.entries(environments)) {
  describe(`the media tools ${whose}`, () => {
    let tools: MediaTools;
    let folder: string;
    let remove: () => Promise<void>;
    const path = (name: string) => join(folder, name);
    const probe = async (name: string) => {
      const found = await tools.probe(path(name), signal);
      return found && { ...found, hasSound: found.sounds.length > 0, hasVideo: found.videos.length > 0 };
    };

    before(async () => {
      tools = await createMediaTools(PACKAGED, env);
      ({ folder, remove } = await makeFolder());
      await writeFile(path("mono.wav"), wavOf(tone(1.5)));
      await writeFile(path("stereo.wav"), wavOf(tone(1.5), 2));
      await ffmpeg("-i", path("stereo.wav"), "-b:a", "64k", path("sound.mp3"));
      await ffmpeg(...testPicture(1), ...h264, path("silent.mp4"));
      await ffmpeg(...testPicture(1), ...testSound(2), ...h264, "-c:a", "aac", path("talking.mp4"));
      await ffmpeg(...testPicture(0.1), "-frames:v", "1", path("cover.png"));
    });
    after(() => remove());

    describe("probe", () => {
      it("tells sound and its length", async () => {
        const wav = await probe("mono.wav");
        assert.deepEqual([wav?.format, wav?.hasVideo, wav?.durationSeconds], ["wav", false, 1.5]);
        assert.deepEqual(wav?.sounds, [
          { index: 0, channels: 1, sampleRate: SAMPLE_RATE, hasLayout: false, isKnown: true, isDefault: false },
        ]);
        const mp3 = await probe("sound.mp3");
        assert.deepEqual([mp3?.format, mp3?.hasSound, mp3?.hasVideo], ["mp3", true, false]);
        assert.ok(Math.abs(mp3!.durationSeconds! - 1.5) < 0.1);
      });

      it("tells video with sound from video without", async () => {
        const silent = await probe("silent.mp4");
        assert.deepEqual([silent?.hasSound, silent?.hasVideo, silent?.durationSeconds], [false, true, 1]);
        assert.deepEqual(silent?.videos, [{ index: 0, width: 64, height: 48 }]);
        assert.ok(silent?.format.split(",").includes("mp4"));
        const talking = await probe("talking.mp4");
        assert.deepEqual([talking?.hasSound, talking?.hasVideo], [true, true]);
        assert.ok(Math.abs(talking!.durationSeconds! - 2) < 0.1);
      });

      it("goes by what is in a file, not by its name", async () => {
        await copyFile(path("talking.mp4"), path("talking.txt"));
        assert.deepEqual(await probe("talking.txt"), await probe("talking.mp4"));
        await copyFile(path("mono.wav"), path("nothing"));
        assert.deepEqual(await probe("nothing"), await probe("mono.wav"));
      });

      it("takes a cover picture for no video", async () => {
        for (const [name, codec] of [
          ["cover.mp3", "copy"],
          ["cover.m4a", "aac"],
        ] as const) {
          const streams = ["-map", "0", "-map", "1", "-c:v", "copy", "-c:a", codec];
          await ffmpeg("-i", path("sound.mp3"), "-i", path("cover.png"), ...streams, ...cover, path(name));
          const found = await probe(name);
          assert.deepEqual([found?.hasSound, found?.hasVideo], [true, false], name);
        }
      });

      it("reads what phones and browsers record", async () => {
        const kinds = {
          "voice.ogg": ["-c:a", "libopus"],
          "voice.flac": [],
          "voice.webm": ["-c:a", "libopus"],
          "voice.m4a": ["-c:a", "aac"],
          "voice.aac": ["-c:a", "aac"],
          "voice.mkv": ["-c:a", "flac"],
          "voice.aiff": [],
          "voice.3gp": ["-c:a", "aac"],
          "voice.amr": ["-ar", "8000", "-c:a", "libopencore_amrnb"],
        };
        for (const [name, codec] of Object.entries(kinds)) {
          await ffmpeg("-i", path("mono.wav"), ...codec, path(name));
          const found = await probe(name);
          assert.deepEqual([found?.hasSound, found?.hasVideo], [true, false], name);
          await toMp3(name);
          assert.ok((await probe("out.mp3"))!.durationSeconds! > 1.4, name);
        }
      });

      it("finds nothing in what is neither sound nor video", async () => {
        await writeFile(path("text"), "Hello there.\n".repeat(1000));
        await writeFile(path("page"), "<!doctype html><title>Not found</title>");
        await writeFile(path("empty"), "");
        await writeFile(path("zeros"), Buffer.alloc(100_000));
        for (const name of ["text", "page", "empty", "zeros", "cover.png"]) assert.equal(await probe(name), undefined);
      });

      it("reads a file whatever it says about itself", async () => {
        const comment = "a long story, ".repeat(200_000);
        await writeFile(path("long.mp3"), Buffer.concat([id3(comment), await readFile(path("sound.mp3"))]));
        const found = await probe("long.mp3");
        assert.deepEqual([found?.hasSound, found?.hasVideo], [true, false]);
      });
    });

    describe("of files that lead to others", () => {
      const asked: string[] = [];
      const server = createServer((request, response) => {
        asked.push(request.url ?? "");
        response.end();
      });
      let playlists: Record<string, string>;

      before(async () => {
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
        const hls = (target: string) =>
          `#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.5,\n${target}\n#EXT-X-ENDLIST\n`;
        playlists = {
          "list.m3u8": hls("sound.mp3"),
          "list.mp3": hls("sound.mp3"),
          "absolute.mp3": hls(path("sound.mp3")),
          "remote.m3u8": hls(`${url}/sound.mp3`),
          "list.ffconcat": "ffconcat version 1.0\nfile mono.wav\n",
          "list.wav": "ffconcat version 1.0\nfile mono.wav\n",
          "passwd.ffconcat": "ffconcat version 1.0\nfile /etc/passwd\n",
          "remote.ffconcat": `ffconcat version 1.0\nfile ${url}/mono.wav\n`,
          "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
          "list.mpd": dash("sound.mp3"),
        };
        for (const [name, text] of Object.entries(playlists)) await writeFile(path(name), text);
      });
      after(() => new Promise((resolve) => server.close(resolve)));

      it("would be followed by the same program, were it not told otherwise", async () => {
        const ffprobe = env.PATH === "" ? ffprobeInstaller.path : "ffprobe";
        for (const name of ["list.m3u8", "list.ffconcat"]) {
          const args = ["-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", path(name)];
          const { stdout } = await promisify(execFile)(ffprobe, args);
          assert.match(stdout, /audio/, `${name} is no proof`);
        }
      });

      it("opens none of them", async () => {
        for (const name of Object.keys(playlists)) assert.equal(await probe(name), undefined, name);
        assert.deepEqual(asked, []);
      });

      it("makes no sound of any", async () => {
        for (const name of Object.keys(playlists)) {
          await assert.rejects(toMp3(name, {}, `${name}.out.mp3`), FileRefused, name);
          assert.equal(existsSync(path(`${name}.out.mp3`)), false, name);
        }
        assert.deepEqual(asked, []);
      });
    });

    describe("toMp3", () => {
      it("makes an MP3 at 44.1 kHz with the channels there are", async () => {
        for (const [name, channels] of [
          ["mono.wav", 1],
          ["stereo.wav", 2],
        ] as const) {
          await toMp3(name);
          assert.deepEqual(await soundOf(path("out.mp3")), { codec: "mp3", rate: "44100", channels });
          assert.ok(Math.abs((await probe("out.mp3"))!.durationSeconds! - 1.5) < 0.1);
        }
      });

      it("mixes to mono when that is wanted", async () => {
        for (const name of ["mono.wav", "stereo.wav", "talking.mp4"]) {
          await toMp3(name, { mono: "mix" });
          assert.deepEqual(await soundOf(path("out.mp3")), { codec: "mp3", rate: "44100", channels: 1 });
        }
      });

      it("mixes more channels than an MP3 has to two", async () => {
        const six = "aevalsrc=0.1|0.1|0.1|0.1|0.1|0.1:c=5.1:d=1";
        await ffmpeg("-f", "lavfi", "-i", six, path("six.wav"));
        await toMp3("six.wav");
        assert.equal((await soundOf(path("out.mp3"))).channels, 2);
      });

      it("keeps the sound itself", async () => {
        await toMp3("mono.wav", { mono: "mix" });
        const sound = await createMedia().decode(path("out.mp3"));
        const loudest = sound.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
        assert.ok(loudest > 6000 && loudest < 10_000, `${loudest}`);
        let crossings = 0;
        for (let index = 1; index < sound.length; index += 1) {
          if (sound[index - 1]! < 0 && sound[index]! >= 0) crossings += 1;
        }
        assert.ok(Math.abs(crossings / 1.5 - 440) < 20, `${crossings / 1.5} Hz`);
      });

      it("takes the sound track of a video, and nothing else of it", async () => {
        await toMp3("talking.mp4");
        const found = await probe("out.mp3");
        assert.deepEqual([found?.format, found?.hasSound, found?.hasVideo], ["mp3", true, false]);
        assert.ok(Math.abs(found!.durationSeconds! - 2) < 0.1);
      });

      it("cuts it off after the longest that is wanted", async () => {
        await toMp3("stereo.wav", { maxSeconds: 0.5 });
        assert.ok(Math.abs((await probe("out.mp3"))!.durationSeconds! - 0.5) < 0.1);
        await toMp3("stereo.wav", { maxSeconds: 1.25 });
        assert.ok(Math.abs((await probe("out.mp3"))!.durationSeconds! - 1.25) < 0.1);
      });

      it("leaves the cover picture behind", async () => {
        const streams = ["-map", "0", "-map", "1", "-c", "copy"];
        await ffmpeg("-i", path("sound.mp3"), "-i", path("cover.png"), ...streams, ...cover, path("covered.mp3"));
        assert.ok((await readFile(path("covered.mp3"))).includes("APIC"));
        assert.ok(!(await toMp3("covered.mp3")).includes("APIC"));
      });

      it("replaces what was there, as a second attempt has to", async () => {
        await writeFile(path("again.mp3"), "left over");
        await toMp3("mono.wav", {}, "again.mp3");
        assert.equal((await probe("again.mp3"))?.hasSound, true);
      });

      it("fails, with the program's words, where there is no sound", async () => {
        for (const name of ["silent.mp4", "cover.png", "there-is-no-such-file"]) {
          await assert.rejects(toMp3(name), (error: Error) => {
            assert.ok(error instanceof FileRefused, name);
            assert.ok(!error.message.includes(folder) && error.message !== "", error.message);
            return true;
          });
        }
      });

      it("cuts a part out of it", async () => {
        await toMp3("stereo.wav", { part: { start: 0.25, end: 1, fadeSeconds: 0.03 } });
        assert.ok(Math.abs((await probe("out.mp3"))!.durationSeconds! - 0.75) < 0.06);
      });
    });

    describe("watch", () => {
      const watch = async (name: string, maxSeconds = 60) => {
        const [track] = (await tools.probe(path(name), signal))!.videos;
        return await tools.watch(path(name), track!, { maxSeconds, signal });
      };

      it("tells how long the pictures last, whatever the container says", async () => {
        assert.ok(Math.abs((await watch("talking.mp4"))! - 1) < 0.15);
        const long = await watch("talking.mp4", 0.5);
        assert.ok(long! < 0.7, `${long}`);
      });

      it("refuses a video without a picture that can be decoded", async () => {
        const file = await readFile(path("silent.mp4"));
        const data = file.indexOf("mdat") + 4;
        file.fill(0, data, data + 20_000 > file.length ? file.length - 1200 : data + 20_000);
        await writeFile(path("dark.mp4"), file);
        await assert.rejects(watch("dark.mp4"), FileRefused);
      });
    });

    async function toMp3(name: string, options: Partial<Mp3Options> = {}, target = "out.mp3"): Promise<Buffer> {
      const track = (await tools.probe(path(name), signal))?.sounds[0] ?? noTrack;
      await tools.toMp3(path(name), path(target), { track, maxSeconds: 60, signal, ...options });
      return await readFile(path(target));
    }
  });
}

describe("where the media tools are", () => {
  let folder: string;
  let remove: () => Promise<void>;

  beforeEach(async () => {
    ({ folder, remove } = await makeFolder());
  });
  afterEach(() => remove());

  /** A program that tells its name as the format of any file. */
  async function program(path: string, mode = 0o755): Promise<string> {
    await mkdir(join(path, ".."), { recursive: true });
    await writeFile(path, `#!/bin/sh\necho '{"streams": [], "format": {"format_name": "${path}"}}'\n`, { mode });
    return path;
  }
  const formatBy = async (paths: { ffprobePath: string | undefined }, folders: string[]) => {
    const tools = await createMediaTools({ ...PACKAGED, ...paths }, { PATH: folders.join(delimiter) });
    return (await tools.probe(ffprobeInstaller.path, signal))?.format;
  };

  it("is where the operator says, else first on the PATH, else in the package", async () => {
    const configured = await program(join(folder, "own", "probe"));
    const first = await program(join(folder, "first", "ffprobe"));
    const second = await program(join(folder, "second", "ffprobe"));
    const path = [join(folder, "nowhere"), join(first, ".."), join(second, "..")];
    assert.equal(await formatBy({ ffprobePath: configured }, path), configured);
    assert.equal(await formatBy({ ffprobePath: undefined }, path), first);
    await chmod(first, 0o644);
    assert.equal(await formatBy({ ffprobePath: undefined }, path), second);
    assert.equal(await formatBy({ ffprobePath: undefined }, path.slice(0, 1)), undefined);
  });

  it("is named loudly when it is the old one of the package", async () => {
    const warnings: string[] = [];
    await createMediaTools(PACKAGED, { PATH: "" }, (message) => warnings.push(message));
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /2018.*install ffmpeg/);
    const own = await program(join(folder, "own", "ffmpeg"));
    await createMediaTools({ ffmpegPath: own, ffprobePath: own }, { PATH: "" }, (message) => warnings.push(message));
    assert.equal(warnings.length, 1);
  });

  it("is no folder of that name", async () => {
    await mkdir(join(folder, "first", "ffprobe"), { recursive: true });
    const second = await program(join(folder, "second", "ffprobe"));
    const path = [join(folder, "first"), join(folder, "second")];
    assert.equal(await formatBy({ ffprobePath: undefined }, path), second);
  });

  it("is told apart from a file that is no sound when it is wrong", async () => {
    const missing = join(folder, "missing");
    const tools = await createMediaTools({ ffmpegPath: missing, ffprobePath: missing }, {});
    const trouble = { name: "ToolTrouble", message: "missing cannot be started (ENOENT)" };
    await assert.rejects(tools.probe(ffprobeInstaller.path, signal), trouble);
    await assert.rejects(tools.toMp3("a", "b", { track: noTrack, maxSeconds: 1, signal }), trouble);
  });
});

describe("media tools that misbehave", () => {
  let folder: string;
  let remove: () => Promise<void>;

  beforeEach(async () => {
    ({ folder, remove } = await makeFolder());
    await writeFile(join(folder, "tone.wav"), wavOf(tone(1)));
  });
  afterEach(() => remove());

  async function scriptOf(script: string) {
    const program = join(folder, "program");
    await writeFile(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return program;
  }

  async function toolsOf(script: string) {
    const program = await scriptOf(script);
    return await createMediaTools({ ffmpegPath: program, ffprobePath: program }, {});
  }

  /** Where the kernel keeps the limit, a file that comes to it twice is the reason. */
  const ofMemory = prlimitPath() === undefined ? ToolTrouble : FileRefused;
  const endings: [string, string, typeof FileRefused | typeof ToolTrouble][] = [
    ["exits with 1", "exit 1", FileRefused],
    ["exits as a newer ffmpeg does over bad data", "exit 183", FileRefused],
    ["complains of bad data", "echo 'Invalid data found when processing input' >&2; exit 1", FileRefused],
    ["crashes twice", "kill -SEGV $$", FileRefused],
    ["aborts twice", "kill -ABRT $$", FileRefused],
    ["is killed, as by a kernel without memory", "kill -KILL $$", ToolTrouble],
    ["is told to end", "kill -TERM $$", ToolTrouble],
    ["was told to end, and ends by itself", "exit 255", ToolTrouble],
    ["was killed within a wrapper", "sh -c 'kill -KILL $$'; exit $?", ToolTrouble],
    ["is a wrapper of what is missing", "/no/such/ffmpeg", ToolTrouble],
    ["has no memory twice", "echo 'in.mp3: Cannot allocate memory' >&2; exit 1", ofMemory],
    ["has no memory twice, in a newer one", "exit 244", ofMemory],
    ["has no memory twice, and crashes over that", "echo 'std::bad_alloc' >&2; kill -ABRT $$", ofMemory],
    ["writes more than it may", "ulimit -f 0; echo much > '$0.out'; kill -XFSZ $$", FileRefused],
    ["has no room", "echo 'av_interleaved_write_frame(): No space left on device' >&2; exit 1", ToolTrouble],
    ["may not write", "echo 'out.mp3: Permission denied' >&2; exit 1", ToolTrouble],
    ["lacks a library", "echo 'error while loading shared libraries: libx.so' >&2; exit 127", ToolTrouble],
  ];
  for (const [ending, script, kind] of endings) {
    const whose = kind === FileRefused ? "the file" : "nobody's file";
    it(`mean ${whose} by it when ffmpeg ${ending}`, async () => {
      const tools = await toolsOf(script);
      const target = join(folder, "out.mp3");
      const options = { track: noTrack, maxSeconds: 60, signal };
      await assert.rejects(tools.toMp3(join(folder, "tone.wav"), target, options), kind);
      await assert.rejects(tools.listen(join(folder, "tone.wav"), noTrack, options), kind);
      const probed = tools.probe(join(folder, "tone.wav"), signal);
      if (kind === FileRefused) assert.equal(await probed, undefined);
      else await assert.rejects(probed, ToolTrouble);
    });
  }

  it("are run again after one crash", async () => {
    const once = join(folder, "crashed");
    const crash = `[ -e '${once}' ] || { touch '${once}'; kill -SEGV $$; }`;
    const tools = await toolsOf(`${crash}\nexec '${ffmpegInstaller.path}' "$@"`);
    const heard = await tools.listen(join(folder, "tone.wav"), noTrack, { maxSeconds: 60, signal });
    assert.equal(heard.seconds, 1);
  });

  it("that are of the package and crash are too old, which is not the file's fault", async () => {
    const tools = await createMediaTools(PACKAGED, { PATH: "" });
    const file = join(folder, "stream.ts");
    await ffmpeg(...testPicture(1), ...testSound(1), ...h264, "-c:a", "aac", file);
    await assert.rejects(tools.probe(file, signal), /too old to read it/);
  });

  it("cannot be started without the right to", async () => {
    await writeFile(join(folder, "program"), "", { mode: 0o644 });
    const program = join(folder, "program");
    const tools = await createMediaTools({ ffmpegPath: program, ffprobePath: program }, {});
    await assert.rejects(tools.probe(join(folder, "tone.wav"), signal), {
      name: "ToolTrouble",
      message: "program cannot be started (EACCES)",
    });
  });

  it("are ended when they stand still, and only then", async () => {
    const options = { signal, stallMs: 400, limits: MEDIA_LIMITS };
    const program = await scriptOf("while true; do sleep 1; done");
    await assert.rejects(
      run(program, [], options),
      /ToolTrouble: program has not gone forward for 0 s|not gone forward/,
    );
    const slow = await scriptOf("for each in 1 2 3 4 5 6 7 8; do echo $each; sleep 0.1; done");
    assert.equal(await run(slow, [], options), "1\n2\n3\n4\n5\n6\n7\n8\n");
    const busy = await scriptOf("while true; do echo frame=1; sleep 0.05; done");
    const reports = new Progress();
    await assert.rejects(run(busy, [], { ...options, onOutput: (chunk) => reports.take(chunk) }), ToolTrouble);
  });

  it("may complain of damage at any length", async () => {
    const complain = "yes 'Header missing' | head -c 3000000 >&2";
    const tools = await toolsOf(`${complain}\nexec '${ffmpegInstaller.path}' "$@"`);
    const target = join(folder, "out.mp3");
    await tools.toMp3(join(folder, "tone.wav"), target, { track: noTrack, maxSeconds: 60, signal });
    assert.deepEqual(await soundOf(target), { codec: "mp3", rate: "44100", channels: 1 });
  });
});

describe("media tools that are not waited for any longer", () => {
  let folder: string;
  let remove: () => Promise<void>;
  let controller: AbortController;
  const path = (name: string) => join(folder, name);

  beforeEach(async () => {
    ({ folder, remove } = await makeFolder());
    controller = new AbortController();
  });
  afterEach(() => remove());

  /** A program that writes down its process id before it becomes `command`. */
  async function recorded(command: string): Promise<string> {
    await writeFile(
      path("program"),
      `#!/bin/sh\necho $$ > '${path("pid.new")}'\nmv '${path("pid.new")}' '${path("pid")}'\nexec ${command}\n`,
    );
    await chmod(path("program"), 0o755);
    return path("program");
  }

  const pid = () =>
    eventually("the program runs", async () => {
      const text = await readFile(path("pid"), "utf8").catch(() => "");
      return text === "" ? undefined : Number(text);
    });

  const gone = (id: number) =>
    eventually("the program ended", () => {
      try {
        process.kill(id, 0);
        return undefined;
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, "ESRCH");
        return true;
      }
    });

  it("ends ffmpeg at once", async () => {
    // An hour of silence, which takes no room on the disk.
    const silence = wavOf(new Int16Array(0), 2);
    const bytes = SAMPLE_RATE * 4 * 3600;
    silence.writeUInt32LE(36 + bytes, 4);
    silence.writeUInt32LE(bytes, 40);
    await writeFile(path("hour.wav"), silence);
    await truncate(path("hour.wav"), silence.length + bytes);
    const ffmpegPath = await recorded(`'${ffmpegInstaller.path}' "$@"`);
    const tools = await createMediaTools({ ...PACKAGED, ffmpegPath }, { PATH: "" });
    assert.equal((await tools.probe(path("hour.wav"), signal))?.durationSeconds, 3600);

    const options = { track: { ...noTrack, channels: 2 }, maxSeconds: 3600, signal: controller.signal };
    const running = assert.rejects(tools.toMp3(path("hour.wav"), path("out.mp3"), options), { name: "AbortError" });
    const id = await pid();
    await eventually("ffmpeg writes", async () => {
      const size = await stat(path("out.mp3")).then(
        (found) => found.size,
        () => 0,
      );
      return size > 0 || undefined;
    });
    controller.abort();
    await running;
    await gone(id);
    // It was stopped on the way.
    assert.ok(((await tools.probe(path("out.mp3"), signal))?.durationSeconds ?? 0) < 3600);
  });

  it("ends ffprobe at once, and does not take that for an answer", async () => {
    const ffprobePath = await recorded("sleep 600");
    const tools = await createMediaTools({ ...PACKAGED, ffprobePath }, {});
    const reason = new Error("the job was cancelled");
    const running = assert.rejects(tools.probe(path("any"), controller.signal), reason);
    const id = await pid();
    controller.abort(reason);
    await running;
    await gone(id);
  });

  it("leaves nothing running that is asked for after that", async () => {
    const program = await recorded("sleep 600");
    const tools = await createMediaTools({ ffmpegPath: program, ffprobePath: program }, {});
    controller.abort();
    await assert.rejects(tools.probe(path("any"), controller.signal), { name: "AbortError" });
    const options = { track: noTrack, maxSeconds: 1, signal: controller.signal };
    await assert.rejects(tools.toMp3(path("any"), path("out.mp3"), options), { name: "AbortError" });
    // Node starts a program even so, to end it at once.
    if (existsSync(path("pid"))) await gone(await pid());
  });
});

const cover = ["-disposition:v:0", "attached_pic"];

async function soundOf(file: string) {
  const args = ["-v", "error", "-show_entries", "stream=codec_name,sample_rate,channels", "-of", "json", file];
  const { stdout } = await promisify(execFile)(ffprobeInstaller.path, args);
  const { streams } = JSON.parse(stdout) as {
    streams: { codec_name: string; sample_rate: string; channels: number }[];
  };
  assert.equal(streams.length, 1);
  const { codec_name: codec, sample_rate: rate, channels } = streams[0]!;
  return { codec, rate, channels };
}

/** A tag of an MP3 (ID3v2.4) with a comment in it. */
function id3(comment: string): Buffer {
  const sevenBits = (size: number) => Buffer.from([21, 14, 7, 0].map((shift) => (size >> shift) & 127));
  const text = Buffer.concat([Buffer.from("\x00comment\x00", "latin1"), Buffer.from(comment, "latin1")]);
  const frame = Buffer.concat([Buffer.from("TXXX"), sevenBits(text.length), Buffer.alloc(2), text]);
  return Buffer.concat([Buffer.from("ID3\x04\x00\x00", "latin1"), sevenBits(frame.length), frame]);
}

/** A presentation of DASH with one file. */
function dash(file: string): string {
  const representation = `<Representation id="1" bandwidth="1"><BaseURL>${file}</BaseURL></Representation>`;
  const period = `<Period><AdaptationSet mimeType="audio/mpeg">${representation}</AdaptationSet></Period>`;
  return `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">${period}</MPD>`;
}
