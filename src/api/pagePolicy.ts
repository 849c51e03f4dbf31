/** The Content-Security-Policy of a page that is made of our own files only, and of what `more` directives allow. */
export function ownFilesOnly(...more: string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    ...more,
  ].join("; ");
}
