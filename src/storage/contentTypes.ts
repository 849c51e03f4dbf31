import { extname } from "node:path";

const types: Record<string, string> = {
  ".mp3": "audio/mpeg",
  ".wav": "audio/wav",
  ".mp4": "video/mp4",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".txt": "text/plain; charset=utf-8",
  ".json": "application/json",
  ".html": "text/html; charset=utf-8",
  ".srt": "application/x-subrip",
  ".vtt": "text/vtt; charset=utf-8",
  ".tsv": "text/tab-separated-values; charset=utf-8",
};

/** The content type of a key by its extension; every key that c3-render builds has one. */
export function contentTypeOf(key: string): string {
  return types[extname(key).toLowerCase()] ?? "application/octet-stream";
}
