import { Presets, SingleBar } from "cli-progress";
import type { Status } from "../sdk/index.ts";
import { harmless } from "./readable.ts";

export interface Progress {
  show(status: Status): void;
  end(): void;
}

type Stream = NodeJS.WritableStream & { isTTY?: boolean };

/** How a job goes while it is waited for: a bar at a terminal, elsewhere a line for each change. */
export function createProgress(stream: Stream): Progress {
  return stream.isTTY === true ? bar(stream) : lines(stream);
}

function bar(stream: Stream): Progress {
  const single = new SingleBar(
    {
      format: "{bar} {words}",
      barsize: 24,
      stream,
      clearOnComplete: true,
      hideCursor: true,
      // Ctrl-C is for the command to answer.
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  let isStarted = false;
  return {
    show(status) {
      const percent = Math.round((status.progress ?? 0) * 100);
      const payload = { words: wordsOf(status) };
      if (isStarted) single.update(percent, payload);
      else single.start(100, percent, payload);
      isStarted = true;
    },
    end() {
      if (isStarted) single.stop();
      isStarted = false;
    },
  };
}

function lines(stream: Stream): Progress {
  let last = "";
  return {
    show(status) {
      const { progress } = status;
      // A line for every percent would be many.
      const tenths = typeof progress === "number" ? Math.floor(progress * 10) / 10 : progress;
      const { eta_seconds: _changing, ...rest } = { ...status, progress: tenths };
      const words = wordsOf(rest);
      if (words !== last) stream.write(`${wordsOf({ ...status, progress: tenths })}\n`);
      last = words;
    },
    end() {},
  };
}

function wordsOf({ status, stage, progress, position, eta_seconds, waiting_for, waiting_reason }: Status): string {
  const parts = [
    stage === undefined ? status : `${status}: ${stage}`,
    typeof progress === "number" && stage === "rendering" ? `${Math.round(progress * 100)} %` : undefined,
    position === undefined ? undefined : `${position} in the queue`,
    waiting_reason ?? waiting_for?.replaceAll("_", " "),
    eta_seconds === undefined ? undefined : `starts in about ${Math.round(eta_seconds)} s`,
  ];
  return harmless(parts.filter((part) => part !== undefined).join(", "));
}
