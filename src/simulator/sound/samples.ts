import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { type Media, wavOf } from "./media.ts";
import type { Speech } from "./speech.ts";

export interface Sample {
  body: Buffer;
  contentType: string;
}

const REFERENCE_TEXT = "This is the voice that you are asked to speak with.";

/** A face, so that a picture that speaks looks like one. */
const FACE = `<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480">
  <rect width="640" height="480" fill="#9fc5e8"/>
  <ellipse cx="320" cy="470" rx="190" ry="130" fill="#38761d"/>
  <ellipse cx="320" cy="220" rx="120" ry="150" fill="#f6cbb2"/>
  <path d="M200 190 Q320 20 440 190 Q400 110 320 110 Q240 110 200 190" fill="#5b3a1e"/>
  <circle cx="275" cy="200" r="12" fill="#222"/><circle cx="365" cy="200" r="12" fill="#222"/>
  <path d="M320 215 L308 255 L332 255" fill="none" stroke="#c98f6f" stroke-width="5"/>
  <path d="M270 300 Q320 335 370 300 Q320 318 270 300" fill="#b5413f"/>
</svg>`;

/** A JPEG of 640 × 480 pixels. */
export function samplePicture(): Promise<Buffer> {
  return sharp(Buffer.from(FACE)).jpeg({ quality: 90 }).toBuffer();
}

/** Sample inputs by name, made when they are first asked for. */
export function createSamples({ media, speech, folder }: { media: Media; speech: Speech; folder: string }) {
  const voice = async () => wavOf(await speech.speak("slt", REFERENCE_TEXT), 2);

  async function video(): Promise<Buffer> {
    const [still, sound, output] = [join(folder, "face.jpg"), join(folder, "voice.wav"), join(folder, "clip.mp4")];
    await Promise.all([writeFile(still, await samplePicture()), writeFile(sound, await voice())]);
    await media.talkingVideo({ picture: still, still: true, sound, seconds: await media.duration(sound), output });
    return await readFile(output);
  }

  const sample = (contentType: string, make: () => Promise<Buffer>) => {
    let made: Promise<Buffer> | undefined;
    return async (): Promise<Sample> => {
      made ??= make();
      return { body: await made, contentType };
    };
  };
  return {
    "voice.wav": sample("audio/wav", voice),
    "portrait.jpg": sample("image/jpeg", samplePicture),
    "clip.mp4": sample("video/mp4", video),
  };
}
