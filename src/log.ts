import { type Logger, pino } from "pino";
import type { LogLevel } from "./config.ts";

export type { Logger };

const secretHeaders = ["authorization", "x-c3-render-key", "x-c3-api-key", "cookie", "set-cookie"];

/** A JSON logger that never prints a secret header. URLs are logged without their query strings (`withoutQuery`). */
export function createLogger(level: LogLevel): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: secretHeaders.flatMap((name) => [`headers["${name}"]`, `*.headers["${name}"]`]),
      censor: "[secret]",
    },
  });
}

/** `url` as it may be logged: without credentials, query string and fragment, where secrets travel. */
export function withoutQuery(url: string): string {
  try {
    const { origin, pathname } = new URL(url);
    return `${origin}${pathname}`;
  } catch {
    return "(not a URL)";
  }
}
