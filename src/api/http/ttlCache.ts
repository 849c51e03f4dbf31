/**
 * `ask`, asked at most once per `keptForMs` and key: whoever comes in between gets the same answer, so that
 * callers cannot multiply what it costs.
 */
export function onceIn<T>(keptForMs: number, ask: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const answers = new Map<string, { until: number; answer: Promise<T> }>();
  return (key) => {
    const now = performance.now();
    const kept = answers.get(key);
    if (kept !== undefined && now < kept.until) return kept.answer;
    const answer = ask(key);
    answers.set(key, { until: now + keptForMs, answer });
    return answer;
  };
}
