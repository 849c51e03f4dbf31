import { type Logger, pino } from "pino";
import pretty from "pino-pretty";
import type { LogLevel } from "../config/index.ts";
import { visible } from "../lib/text.ts";

export type { Logger };

const secretHeaders = ["authorization", "x-c3-render-key", "x-c3-api-key", "cookie", "set-cookie"];

/** Never prints a secret header. URLs are logged without their query strings (`withoutQuery`). */
const options = {
  base: null,
  timestamp: pino.stdTimeFunctions.isoTime,
  formatters: { level: (label: string) => ({ level: label }) },
  redact: {
    paths: secretHeaders.flatMap((name) => [`headers["${name}"]`, `*.headers["${name}"]`]),
    censor: "[secret]",
  },
};

/** A logger that writes JSON, a line per event, to the standard output. */
export function createLogger(level: LogLevel): Logger {
  return pino({ ...options, level });
}

/** The same events for a person at a terminal: time, level and words, and of the fields only those that name things. */
export function createTerminalLogger(level: LogLevel): Logger {
  // A terminal that was closed must not end what it started: stopping takes longer than it stays.
  process.stdout.on("error", () => {});
  const stream = pretty({
    destination: process.stdout,
    translateTime: "SYS:HH:MM:ss",
    hideObject: true,
    messageFormat: (event, messageKey) => {
      const named = shownFields.flatMap((name) => (event[name] === undefined ? [] : [`${name}=${event[name]}`]));
      return visible([event[messageKey], ...named].join("  "));
    },
  });
  return pino({ ...options, level }, stream);
}

const shownFields = ["jobId", "gpuId", "state", "stage", "node", "reason", "method", "path", "status", "url", "error"];

/** `url` as it may be logged: without credentials, query string and fragment, where secrets travel. */
export function withoutQuery(url: string): string {
  try {
    const { origin, pathname } = new URL(url);
    return `${origin}${pathname}`;
  } catch {
    return "(not a URL)";
  }
}
