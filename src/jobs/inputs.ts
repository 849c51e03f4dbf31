import type { JobSpec } from "./job.ts";
import type { Source } from "./kinds/lipsync.ts";
import type { SpeechInput } from "./speech.ts";

/** What an input is prepared as. */
export type InputKind =
  /** Mono MP3 of what a model of voices can use of it. */
  | "voice"
  /** MP3. */
  | "sound"
  /** The sound of a portrait: MP3 of limited length. */
  | "portraitSound"
  /** The sound that lips follow: likewise. */
  | "lipSound"
  /** A picture of at most 2048 px. */
  | "picture"
  /** The same, with a face in it. */
  | "face"
  /** A picture that fits into 1280×720, with even sides. */
  | "portrait"
  /** A video as it is. */
  | "video";

/** The names that models know prepared inputs by. */
export type InputName = "reference_audio" | "audio" | "image" | "video";

/** Something that a job is given by reference. */
export interface WantedInput {
  name: InputName;
  /** The field that named it, for messages. */
  field: string;
  kind: InputKind;
  source: Source;
}

/** Everything that has to be downloaded for a job. */
export function inputsOf(job: JobSpec): WantedInput[] {
  switch (job.type) {
    case "csm":
      return voiceOf(job.input);
    case "whisper":
      return [{ name: "audio", field: "audio_url", kind: "sound", source: { url: job.input.audioUrl } }];
    case "portrait": {
      const { imageUrl, sound } = job.input;
      const image: WantedInput = { name: "image", field: "image_url", kind: "portrait", source: { url: imageUrl } };
      if ("speech" in sound) return [image, ...voiceOf(sound.speech)];
      return [image, { name: "audio", field: "audio_url", kind: "portraitSound", source: { url: sound.audioUrl } }];
    }
    case "analyze":
      return [{ name: "image", field: "image_url", kind: "picture", source: { url: job.input.imageUrl } }];
    case "lipsync": {
      const { face, audio } = job.input;
      return [
        {
          name: face.kind,
          field: fieldOf(face.kind, face.source),
          kind: face.kind === "video" ? "video" : "face",
          source: face.source,
        },
        { name: "audio", field: fieldOf("audio", audio), kind: "lipSound", source: audio },
      ];
    }
    default:
      return job satisfies never;
  }
}

function voiceOf({ reference }: SpeechInput): WantedInput[] {
  if (reference === undefined) return [];
  const { field, audioUrl } = reference;
  return [{ name: "reference_audio", field, kind: "voice", source: { url: audioUrl } }];
}

function fieldOf(what: string, source: Source): string {
  return "url" in source ? `${what}_url` : `${what}_path`;
}
