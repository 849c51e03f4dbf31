import assert from "node:assert/strict";
import fc from "fast-check";
import { lipsyncSchema } from "../../../src/jobs/kinds/lipsync.ts";

const common = { maxTimeSeconds: 1200, completeInSeconds: 3600 };
const remote = lipsyncSchema({ ...common, localPaths: false });
const local = lipsyncSchema({ ...common, localPaths: true });
const VIDEO_URL = "https://example.com/face.mp4";
const IMAGE_URL = "https://example.com/face.jpg";
const AUDIO_URL = "https://example.com/speech.mp3";

function problemsOf(body: object, schema = remote): Record<string, string> {
  const issues = schema.safeParse(body).error?.issues ?? [];
  return Object.fromEntries(issues.map(({ path, message }) => [path.join("."), message]));
}
const fieldsOf = (body: object, schema = remote) => Object.keys(problemsOf(body, schema));

describe("the body of POST /jobs", () => {
  it("takes a video or a picture, and a sound", () => {
    assert.deepEqual(remote.parse({ video_url: VIDEO_URL, audio_url: AUDIO_URL }).input, {
      face: { kind: "video", source: { url: VIDEO_URL } },
      audio: { url: AUDIO_URL },
      version: "v15",
    });
    assert.deepEqual(remote.parse({ image_url: IMAGE_URL, audio_url: AUDIO_URL, version: "v1" }).input, {
      face: { kind: "image", source: { url: IMAGE_URL } },
      audio: { url: AUDIO_URL },
      version: "v1",
    });
  });

  it("wants exactly one face", () => {
    assert.deepEqual(problemsOf({ audio_url: AUDIO_URL }), { video_url: "video_url or image_url is required" });
    const both = { video_url: VIDEO_URL, image_url: IMAGE_URL, audio_url: AUDIO_URL };
    assert.deepEqual(problemsOf(both), { image_url: "give either a video or an image, not both" });
  });

  it("wants a sound, and says all that is missing at once", () => {
    assert.deepEqual(problemsOf({ video_url: VIDEO_URL }), { audio_url: "audio_url is required" });
    assert.deepEqual(fieldsOf({}), ["video_url", "audio_url"]);
  });

  it("wants http(s) URLs and a version that there is", () => {
    const body = { video_url: "file:///etc/passwd", audio_url: "speech.mp3", version: "v2" };
    assert.deepEqual(fieldsOf(body), ["video_url", "audio_url", "version"]);
  });

  it("has the common fields", () => {
    const body = { video_url: VIDEO_URL, audio_url: AUDIO_URL };
    assert.equal(remote.parse(body).max_time, 1200);
    assert.deepEqual(fieldsOf({ ...body, max_time: 1, priority: 1 }), ["max_time", "priority"]);
  });

  it("refuses paths where the operator has opened no folder, whatever they are", () => {
    const paths = { video_path: "face.mp4", image_path: " ", audio_path: 7 };
    const problems = problemsOf({ video_url: VIDEO_URL, audio_url: AUDIO_URL, ...paths });
    const message = "paths are not allowed here, only URLs";
    assert.deepEqual(problems, { video_path: message, image_path: message, audio_path: message });
  });

  it("takes paths, mixed with URLs, where the operator has opened a folder", () => {
    assert.deepEqual(local.parse({ video_path: "faces/a.mp4", audio_path: "speech.mp3" }).input, {
      face: { kind: "video", source: { path: "faces/a.mp4" } },
      audio: { path: "speech.mp3" },
      version: "v15",
    });
    assert.deepEqual(local.parse({ image_path: "..a/b...jpg", audio_url: AUDIO_URL }).input, {
      face: { kind: "image", source: { path: "..a/b...jpg" } },
      audio: { url: AUDIO_URL },
      version: "v15",
    });
  });

  it("refuses a path next to a URL of the same thing, and two faces of any kind", () => {
    const body = { video_url: VIDEO_URL, video_path: "a.mp4", audio_url: AUDIO_URL, audio_path: "a.mp3" };
    assert.deepEqual(problemsOf(body, local), {
      video_path: "give either video_url or video_path, not both",
      audio_path: "give either audio_url or audio_path, not both",
    });
    const faces = { video_path: "a.mp4", image_path: "a.jpg", audio_url: AUDIO_URL };
    assert.equal(local.safeParse(faces).success, false);
  });

  it("refuses paths that lead out of the folder", () => {
    const outside = [
      ...[" /../a", "/etc/passwd", "..", "../a.mp4", "a/../../b.mp4", "a/..", "\\\\host\\share\\a.mp4", "..\\a.mp4"],
      ...["a\\..\\..\\b.mp4", "C:\\a.mp4", "c:a.mp4", "a.mp4\0.txt"],
    ];
    for (const path of outside) {
      assert.deepEqual(fieldsOf({ video_path: path, audio_url: AUDIO_URL }, local), ["video_path"], path);
    }
  });

  it("refuses every path that has .. among its parts or starts at a root", () => {
    const part = fc.constantFrom("a", "..", ".", "b.mp4", "");
    const separator = fc.constantFrom("/", "\\");
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), separator, (parts, by) => {
        const path = parts.join(by);
        const leaves = parts.includes("..") || parts[0] === "";
        assert.equal(local.safeParse({ image_path: path, audio_url: AUDIO_URL }).success, !leaves, path);
      }),
    );
  });
});
