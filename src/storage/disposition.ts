/**
 * What a browser does with a file (`Content-Disposition`, RFC 6266): shows it, or saves it under `name`. A name with other
 * letters than those of ASCII is also given in a form that old programs can read.
 */
export function disposition(kind: "inline" | "attachment", name: string): string {
  const printable = name.replaceAll(/[\p{Cc}\p{Cs}]/gu, "");
  const ascii = printable
    .normalize("NFKD")
    .replaceAll(/\p{M}/gu, "")
    .replaceAll(/[^ -~]/gu, "_");
  const quoted = `filename="${ascii.replaceAll(/["\\]/g, "_")}"`;
  // Percent signs in the plain form are decoded by some programs, and not by others.
  if (ascii === printable && !/["\\%]/.test(ascii)) return `${kind}; ${quoted}`;
  return `${kind}; ${quoted}; filename*=UTF-8''${encodeRfc8187(printable)}`;
}

/** `encodeURIComponent` leaves some signs that the grammar does not allow (RFC 8187 §3.2.1). */
function encodeRfc8187(text: string): string {
  const hex = (sign: string) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(text).replaceAll(/['()*]/g, hex);
}
