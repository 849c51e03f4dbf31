import { z } from "zod";
import { bodySchema } from "../body.ts";
import { httpUrl } from "../fields.ts";
import { type SubmissionDefaults, submissionFields } from "../submission.ts";

export const museTalkVersions = ["v15", "v1"] as const;

/** Where an input comes from. */
export type Source =
  | { url: string }
  /** Relative to the folder that the operator has opened on the worker's host. */
  | { path: string };

/** A face, and the sound that its lips are to follow. */
export interface LipsyncInput {
  face: { kind: "video" | "image"; source: Source };
  audio: Source;
  /** Of MuseTalk. */
  version: (typeof museTalkVersions)[number];
}

const kinds = ["video", "image", "audio"] as const;
type Kind = (typeof kinds)[number];
type Sources = { [K in Kind as `${K}_url` | `${K}_path`]?: string | undefined };

/** The body of `POST /jobs`, in, and `{ input, …common fields }`, out. */
export function lipsyncSchema(options: SubmissionDefaults & { localPaths: boolean }) {
  const path = options.localPaths
    ? z.string().refine(staysInside, { error: "must be a relative path without .." })
    : z.never({ error: "paths are not allowed here, only URLs" });
  const fields = {
    ...submissionFields(options),
    video_url: httpUrl.optional().describe("The video whose lips are to follow"),
    image_url: httpUrl.optional().describe("A picture instead of a video"),
    audio_url: httpUrl.optional().describe("The sound that they follow: a recording, or a video"),
    video_path: path.optional().describe("Instead of `video_url`: a file in the folder that the operator has opened"),
    image_path: path.optional().describe("Instead of `image_url`, likewise"),
    audio_path: path.optional().describe("Instead of `audio_url`, likewise"),
    version: z.enum(museTalkVersions).default("v15").describe("Of MuseTalk"),
  };
  return bodySchema(fields, (object) =>
    object
      .describe("A face, either `video_url` or `image_url`, and `audio_url` are needed")
      .transform((body, context) => {
        const problem = (field: string, message: string) =>
          context.addIssue({ code: "custom", path: [field], message });
        for (const kind of kinds) {
          if (body[`${kind}_url`] !== undefined && body[`${kind}_path`] !== undefined)
            problem(`${kind}_path`, `give either ${kind}_url or ${kind}_path, not both`);
        }
        const video = sourceOf(body, "video");
        const image = sourceOf(body, "image");
        const audio = sourceOf(body, "audio");
        if (video !== undefined && image !== undefined)
          problem("image_url", "give either a video or an image, not both");
        const face = video ?? image;
        if (face === undefined) problem("video_url", "video_url or image_url is required");
        if (audio === undefined) problem("audio_url", "audio_url is required");
        if (face === undefined || audio === undefined) return z.NEVER;
        const kind = video === undefined ? "image" : "video";
        const input: LipsyncInput = { face: { kind, source: face }, audio, version: body.version };
        return { ...body, input };
      }),
  );
}

function sourceOf(body: Sources, kind: Kind): Source | undefined {
  const url = body[`${kind}_url`];
  const path = body[`${kind}_path`];
  if (url !== undefined) return { url };
  return path === undefined ? undefined : { path };
}

function staysInside(path: string): boolean {
  const parts = path.split(/[\\/]/);
  return path !== "" && !path.includes("\0") && !/^([\\/]|[A-Za-z]:)/.test(path) && !parts.includes("..");
}
