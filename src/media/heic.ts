import { fileURLToPath } from "node:url";
import { run } from "./program.ts";
import { againAfterCrash } from "./verdict.ts";

const decoder = fileURLToPath(new URL("./heicDecoder.mjs", import.meta.url));
const LIMITS = { memoryBytes: 1_800_000_000, cpuSeconds: 120, fileBytes: 512 * 1024 * 1024 };
/** Fifty megapixels take ten seconds on a slow machine; it does not tell how far it is. */
const TIME_LIMIT_MS = 180_000;

/**
 * Makes a PNG, upright and with its colour profile, of a picture in HEVC, which the decoders of `sharp` are built without.
 * In a process of its own: the decoder may neither stop this one nor take its memory.
 * @throws FileRefused with a message that continues the sentence "this picture …", ToolTrouble
 */
export async function decodeHeic(
  source: string,
  target: string,
  maxPixels: number,
  signal: AbortSignal,
): Promise<void> {
  const args = ["--max-old-space-size=512", decoder, source, target, `${maxPixels}`];
  await againAfterCrash(() =>
    run(process.execPath, args, { signal, stallMs: TIME_LIMIT_MS, limits: LIMITS, onOutput: () => false }),
  );
}
