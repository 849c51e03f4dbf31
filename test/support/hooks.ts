/** Root hooks: what the whole run shares is stopped here. */
const closers: (() => Promise<void>)[] = [];

/** Registers something shared by all tests, to be closed after the last one. */
export function closeAfterAll(close: () => Promise<void>): void {
  closers.push(close);
}

after(async () => {
  for (const close of closers.reverse()) await close();
});
