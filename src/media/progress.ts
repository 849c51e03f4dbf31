/** Follows the reports of ffmpeg's `-progress`, which also come while nothing goes forward. */
export class Progress {
  private rest = "";
  private before = "";
  private readonly values = new Map<string, string>();

  /** @returns whether it went forward */
  take(chunk: Buffer): boolean {
    const lines = (this.rest + chunk.toString()).split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      const at = line.indexOf("=");
      this.values.set(line.slice(0, at), line.slice(at + 1).trim());
    }
    const now = ["frame", "total_size", "out_time"].map((name) => this.values.get(name)).join();
    const moved = now !== this.before;
    this.before = now;
    return moved;
  }

  latest(): { frames: number; seconds: number | undefined } {
    const frames = Number(this.values.get("frame") ?? 0);
    const [, hours, minutes, seconds] = /^(\d+):(\d+):([\d.]+)$/.exec(this.values.get("out_time") ?? "") ?? [];
    if (seconds === undefined) return { frames, seconds: undefined };
    return { frames, seconds: Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds) };
  }
}
