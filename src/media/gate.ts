interface Waiting {
  amount: number;
  enter: () => void;
}

/** So much of something, given to whoever asks in the order of asking: what is large waits, and holds up what is small. */
export class Gate {
  private free: number;
  private readonly size: number;
  private readonly waiting: Waiting[] = [];

  constructor(size: number) {
    this.size = size;
    this.free = size;
  }

  /** @returns what gives it back. Who wants more than there is gets all. @throws the signal's reason */
  async enter(wanted: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const amount = Math.min(wanted, this.size);
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        this.waiting.splice(this.waiting.indexOf(entry), 1);
        reject(signal.reason);
        this.admit();
      };
      const entry = {
        amount,
        enter: () => {
          signal.removeEventListener("abort", leave);
          resolve();
        },
      };
      signal.addEventListener("abort", leave, { once: true });
      this.waiting.push(entry);
      this.admit();
    });
    let isIn = true;
    return () => {
      if (isIn) this.free += amount;
      isIn = false;
      this.admit();
    };
  }

  private admit(): void {
    for (let next = this.waiting[0]; next !== undefined && next.amount <= this.free; next = this.waiting[0]) {
      this.waiting.shift();
      this.free -= next.amount;
      next.enter();
    }
  }
}
