/**
 * What the scans of a JPEG hold. A progressive one is sharpened scan by scan (ITU T.81, G.1.1); once the last bit of every
 * coefficient has come up in one, only sharpness can be missing.
 */
export function scansOf(file: Buffer): "baseline" | "all begun" | "some missing" {
  const components = new Map<number, boolean[]>();
  for (let at = 2; at + 4 <= file.length; ) {
    const marker = file[at + 1] ?? 0;
    // Fill bytes, and data between markers.
    if (file[at] !== 0xff || marker === 0x00 || marker === 0xff || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 1;
      continue;
    }
    if (marker === 0xc0 || marker === 0xc1) return "baseline";
    const content = file.subarray(at + 4, at + 2 + file.readUInt16BE(at + 2));
    if (marker === 0xc2) for (let id = 6; id < content.length; id += 3) components.set(content[id] ?? 0, []);
    if (marker === 0xda) {
      const count = content[0] ?? 0;
      const [first = 0, last = 0, precision = 0] = content.subarray(1 + 2 * count);
      const isExact = (precision & 0x0f) === 0;
      for (let index = 0; isExact && index < count; index += 1) {
        const exact = components.get(content[1 + 2 * index] ?? 0);
        for (let coefficient = first; exact !== undefined && coefficient <= last; coefficient += 1)
          exact[coefficient] = true;
      }
    }
    at += 2 + file.readUInt16BE(at + 2);
  }
  const isExact = (coefficients: boolean[]) => coefficients.filter(Boolean).length === 64;
  return components.size > 0 && [...components.values()].every(isExact) ? "all begun" : "some missing";
}
