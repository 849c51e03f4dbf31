/** A workflow whose only step takes as long as its loop. */
export async function longStep(turns: number): Promise<number> {
  return turn(turns);
}

export function turn(turns: number): number {
  let sum = 0;
  for (let index = 0; index < turns; index += 1) sum = (sum * 31 + index) % 1_000_003;
  return sum;
}
