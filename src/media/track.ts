import type { Limits, MediaTools, SoundTrack } from "./ffmpeg.ts";
import type { Heard } from "./listener.ts";
import { FileRefused } from "./verdict.ts";

/** Each may have to be decoded to its end. */
const MAX_TRACKS = 8;

export interface ChosenTrack {
  track: SoundTrack;
  heard: Heard;
}

/**
 * The track of a file that is meant: of those that can be decoded, the one that players choose, unless it is silent, as that
 * of a microphone beside the one of the system often is. A file that is silent altogether gives its loudest track.
 * @throws FileRefused when none can be decoded, ToolTrouble
 */
export async function chooseTrack(
  media: MediaTools,
  file: string,
  tracks: readonly SoundTrack[],
  limits: Limits,
): Promise<ChosenTrack> {
  let refused: FileRefused | undefined;
  let best: ChosenTrack | undefined;
  for (const track of tracks.toSorted(byPlayers).slice(0, MAX_TRACKS)) {
    try {
      const heard = await media.listen(file, track, limits);
      if (heard.seconds > 0 && !heard.isSilent) return { track, heard };
      if (best === undefined || heard.loudestDb > best.heard.loudestDb) best = { track, heard };
    } catch (error) {
      if (!(error instanceof FileRefused)) throw error;
      refused ??= error;
    }
  }
  if (best !== undefined) return best;
  throw refused ?? new FileRefused("there is no track of sound in it");
}

/** What cannot be named can hardly be decoded; a track without channels says nothing about itself, either. */
function byPlayers(a: SoundTrack, b: SoundTrack): number {
  const rank = ({ isKnown, isDefault, channels }: SoundTrack) =>
    (isKnown && channels > 0 ? 0 : 2) + (isDefault ? 0 : 1);
  return rank(a) - rank(b) || a.index - b.index;
}
