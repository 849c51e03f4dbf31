import type { PreparedInput } from "../../contracts/activityTypes.ts";
import type { WantedInput } from "../../jobs/inputs.ts";
import type { MediaTools } from "../../media/ffmpeg.ts";

/** A file on its way from where it came from to the object store. */
export interface Staged {
  input: WantedInput;
  /** As it came. */
  original: string;
  /** Where what is made of it goes, without the extension. */
  target: string;
  media: MediaTools;
  /** Of sound and video. */
  maxSeconds: number;
  signal: AbortSignal;
}

/** What preparing made of an input. */
export interface Prepared extends Omit<PreparedInput, "name" | "key" | "bytes"> {
  path: string;
  extension: string;
}
