import { Readable } from "node:stream";
import type { StoredText } from "../../contracts/activityTypes.ts";
import { contentTypeOf } from "../../storage/contentTypes.ts";
import { keys } from "../../storage/keys.ts";
import type { ActivityDeps } from "../support/deps.ts";
import { whileStoreIsAway } from "../support/storeRetry.ts";

/** A longer text is not put into Temporal, where every byte is kept in the history. */
const MAX_INLINE_BYTES = 32 * 1024;

/** Stores a job's text result. */
export async function storeText(
  { store }: Pick<ActivityDeps, "store">,
  jobId: string,
  text: string,
  signal: AbortSignal,
): Promise<StoredText> {
  const key = keys.result(jobId, "txt");
  const mimeType = contentTypeOf(key);
  const put = () => store.put(key, Readable.from([Buffer.from(text)]), { contentType: mimeType, signal });
  const bytes = await whileStoreIsAway(put, signal);
  return { file: { key, mimeType, bytes }, ...(bytes <= MAX_INLINE_BYTES && { inline: text }) };
}
