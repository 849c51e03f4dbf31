/**
 * `text` as a URL; undefined when it is none. `URL.canParse` would be shorter, but once Node 20 has optimized it, it takes
 * texts of Latin-1 for UTF-8 and refuses hosts such as `bücher.example`.
 */
export function urlOf(text: string, base?: URL): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}
