import { absurdityOf } from "../../media/confinement.ts";
import { chooseTrack } from "../../media/track.ts";
import { bestPart, type VoicePart } from "../../media/voice.ts";
import { complaintOf, invalid } from "./failures.ts";
import type { Prepared, Staged } from "./staged.ts";

/** Less is no voice, but a noise. */
const MIN_VOICE_SECONDS = 1;
/** An MP3 has whole frames, and says that it is longer by some; what just fits must not be found too long on the node. */
const MP3_PADDING_SECONDS = 0.1;

/**
 * The sound of a file as an MP3: of the track that is meant, in the times of the recording, whatever its container says.
 * @throws a sentence that says what the file is instead of sound
 */
export async function prepareSound(staged: Staged): Promise<Prepared> {
  const { original, signal, target, media, maxSeconds } = staged;
  const { field, kind } = staged.input;
  const probe = await media.probe(original, signal);
  if (probe === undefined) throw invalid(field, await complaintOf(original, "audio"));
  if (probe.sounds.length === 0) throw invalid(field, "there is no sound in it");
  const tracks = probe.sounds.filter((track) => absurdityOf(track) === undefined);
  if (tracks.length === 0) throw invalid(field, probe.sounds.flatMap((track) => absurdityOf(track) ?? [])[0] ?? "");
  // A second more tells what is too long from what just fits.
  const limits = { maxSeconds: maxSeconds + 1, signal };
  const { track, heard } = await chooseTrack(media, original, tracks, limits);
  if (heard.seconds === 0) throw invalid(field, "there is no sound in it");
  if (heard.seconds > maxSeconds) throw invalid(field, `it is longer than ${maxSeconds} s`);
  const path = `${target}.mp3`;
  const about = { path, extension: "mp3", mimeType: "audio/mpeg" };
  if (kind !== "voice") {
    const seconds = Math.min(heard.seconds, maxSeconds - MP3_PADDING_SECONDS);
    await media.toMp3(original, path, { track, maxSeconds: seconds, mono: heard.onlyChannel, signal });
    return { ...about, durationSeconds: rounded(seconds) };
  }
  const part = voiceOf(field, bestPart(heard));
  await media.toMp3(original, path, { ...limits, track, mono: heard.onlyChannel ?? "mix", part });
  return {
    ...about,
    durationSeconds: rounded(part.end - part.start),
    wholeSeconds: rounded(part.wholeSeconds),
    startSeconds: rounded(part.start),
  };
}

function voiceOf(field: string, part: VoicePart | undefined): VoicePart {
  if (part === undefined) throw invalid(field, "nothing is to be heard in it");
  if (part.wholeSeconds >= MIN_VOICE_SECONDS) return part;
  throw invalid(field, `it is too short for a voice: ${MIN_VOICE_SECONDS} s of speech is needed at least`);
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
