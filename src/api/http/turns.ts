import { unavailable } from "./errors.ts";

/**
 * Lets at most `limit` works run at one time; the others take turns, in their order.
 * @returns a function that runs a work, or throws HttpError 503 before it has begun: when its turn does not come
 * within `waitMs`, and when its caller has gone by then
 */
export function createTurns(limit: number, waitMs: number) {
  /** What begins the next works. */
  const waiting = new Set<() => void>();
  let running = 0;

  async function turn(): Promise<void> {
    if (running < limit) {
      running += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const begin = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        waiting.delete(begin);
        reject(overloaded());
      }, waitMs);
      waiting.add(begin);
    });
  }

  /** Whoever is next takes the place over, so that nobody can come in between. */
  function done(): void {
    const [next] = waiting;
    if (next === undefined) {
      running -= 1;
      return;
    }
    waiting.delete(next);
    next();
  }

  return async function inTurn<T>(work: () => Promise<T>, isGone: () => boolean = () => false): Promise<T> {
    await turn();
    try {
      if (isGone()) throw overloaded();
      return await work();
    } finally {
      done();
    }
  };
}

function overloaded() {
  return unavailable("overloaded", "Too many submissions are under way; nothing was started. Try again later");
}
