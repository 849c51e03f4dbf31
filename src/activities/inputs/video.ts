import { fileTypeFromFile } from "file-type";
import { MAX_FILM_PIXELS } from "../../media/confinement.ts";
import { complaintOf, invalid } from "./failures.ts";
import { MAX_FACE_RATIO, MIN_FACE_SIDE } from "./picture.ts";
import type { Prepared, Staged } from "./staged.ts";

/** A video stays as it is, once it was seen to be one. @throws a sentence that says what is wrong with it */
export async function checkVideo({ input, original, signal, media, maxSeconds }: Staged): Promise<Prepared> {
  const { field } = input;
  const probe = await media.probe(original, signal);
  if (probe === undefined) throw invalid(field, await complaintOf(original, "a video"));
  const [track] = probe.videos;
  if (track === undefined) throw invalid(field, "there are no moving pictures in it");
  const [shorter, longer] = [Math.min(track.width, track.height), Math.max(track.width, track.height)];
  if (shorter < MIN_FACE_SIDE || longer > MAX_FACE_RATIO * shorter) {
    const needed = `${MIN_FACE_SIDE} at least on its shorter side, and one side ${MAX_FACE_RATIO} times the other at most`;
    throw invalid(field, `its pictures are too small or too narrow: ${track.width}×${track.height} pixels, ${needed}`);
  }
  if (track.width * track.height > MAX_FILM_PIXELS) {
    throw invalid(field, `its pictures are too large: ${track.width}×${track.height} pixels, 4096×4096 at most`);
  }
  const seconds = await media.watch(original, track, { maxSeconds: maxSeconds + 1, signal });
  if ((seconds ?? probe.durationSeconds ?? 0) > maxSeconds) throw invalid(field, `it is longer than ${maxSeconds} s`);
  const type = await fileTypeFromFile(original);
  return {
    path: original,
    extension: type?.ext ?? "video",
    mimeType: type?.mime ?? "application/octet-stream",
    ...(seconds !== undefined && { durationSeconds: seconds }),
  };
}
