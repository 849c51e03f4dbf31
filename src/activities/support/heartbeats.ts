import { heartbeat } from "@temporalio/activity";

/** A cancel arrives with a heartbeat, so no activity that may be cancelled is silent for longer. */
const BEAT_MS = 3000;

/** Runs `work` with regular heartbeats, whatever else it does; `report` changes what they carry. */
export async function withHeartbeats<T, Details = undefined>(
  work: (report: (details: Details) => void) => Promise<T>,
): Promise<T> {
  let details: Details | undefined;
  const beat = () => heartbeat(...(details === undefined ? [] : [details]));
  const timer = setInterval(beat, BEAT_MS);
  try {
    return await work((latest) => {
      details = latest;
      beat();
    });
  } finally {
    clearInterval(timer);
  }
}
