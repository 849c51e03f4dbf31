import type { Run, Sample } from "./schedulingSimulator.ts";
import { DAY } from "./schedulingTraces.ts";

const WIDTH = 900;
const PANEL = 150;
const LEFT = 50;
const GAP = 45;
const colours: Record<string, string> = { original: "#c0504d", ours: "#2f6db3" };

/** GPUs, and waiting jobs, over the day. */
export function plot(runs: Record<string, Run>): string {
  const bottom = GAP + 2 * (PANEL + GAP);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom}" font-family="sans-serif" font-size="12" role="img" aria-labelledby="title">`,
    `<title id="title">GPUs and waiting jobs over the diurnal day</title>`,
    `<rect width="${WIDTH}" height="${bottom}" fill="white"/>`,
    ...Object.keys(runs).map((name, index) => text(LEFT + 10 + index * 90, 20, name, colours[name])),
    ...panel("GPUs", GAP, runs, ({ gpus }) => gpus),
    ...panel("waiting jobs", GAP + PANEL + GAP, runs, ({ queue }) => queue),
    "</svg>\n",
  ].join("\n");
}

function panel(title: string, top: number, runs: Record<string, Run>, value: (sample: Sample) => number): string[] {
  const all = Object.values(runs).flatMap(({ samples }) => samples.map(value));
  const most = Math.max(1, ...all);
  const x = (at: number) => LEFT + ((WIDTH - LEFT - 15) * at) / DAY;
  const y = (count: number) => top + PANEL - (PANEL * count) / most;
  const line = (name: string, { samples }: Run) => {
    const points = samples
      .filter(({ at }) => at <= DAY)
      .map((sample) => `${x(sample.at).toFixed(1)},${y(value(sample)).toFixed(1)}`);
    return `<polyline fill="none" stroke="${colours[name]}" stroke-width="1" points="${points.join(" ")}"/>`;
  };
  const hourMarks = [0, 6, 12, 18, 24].map((hour) => text(x(hour * 3600) - 12, top + PANEL + 15, `${hour} h`));
  return [
    text(LEFT, top - 8, title),
    text(LEFT - 22, y(most) + 4, String(most)),
    text(LEFT - 14, y(0) + 4, "0"),
    `<path d="M${LEFT} ${top}V${top + PANEL}H${WIDTH - 15}" fill="none" stroke="#888"/>`,
    ...hourMarks,
    ...Object.entries(runs).map(([name, run]) => line(name, run)),
  ];
}

function text(x: number, y: number, content: string, fill = "#333"): string {
  return `<text x="${x.toFixed(0)}" y="${y.toFixed(0)}" fill="${fill}">${content}</text>`;
}
