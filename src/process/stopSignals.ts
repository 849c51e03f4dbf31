/** Ctrl-C, the end of a service, a terminal that is closed. */
const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** npm, `timeout` and process managers signal the process group and, besides, the process. */
const ONE_REQUEST_MS = 2000;

export interface StopHandlers {
  /** The first request to stop. */
  stop(signal: NodeJS.Signals): void;
  /** The second one, and SIGQUIT at any time. It has to end the process. */
  leave(): void;
}

/**
 * Watches for signals to stop, until the process ends. Signals within two seconds are one request; a third request ends the
 * process whatever it is doing. To be called before anything is started that must not be left behind.
 */
export function watchStopSignals({ stop, leave }: StopHandlers): void {
  // Whoever reads the output may be gone before the process is: a closed terminal, a pipe to a program that Ctrl-C has ended.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  let isStopping = false;
  let isLeaving = false;
  let isSameRequest = false;
  const leaveOnce = () => {
    if (isLeaving) process.exit(1);
    isLeaving = true;
    leave();
  };
  const onSignal = (signal: NodeJS.Signals) => {
    if (isSameRequest) return;
    isSameRequest = true;
    const forgetRequest = () => {
      isSameRequest = false;
    };
    // After the loop was blocked timers come first: signals that arrived meanwhile are let in before the time is over.
    setTimeout(() => setImmediate(forgetRequest), ONE_REQUEST_MS).unref();
    if (isStopping) return leaveOnce();
    isStopping = true;
    stop(signal);
  };
  for (const signal of stopSignals) process.on(signal, onSignal);
  process.on("SIGQUIT", leaveOnce);
}
