import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** What the logger of a terminal prints, in a process of its own: it writes to the standard output. */
async function printed(fields: object, message: string): Promise<string> {
  const code = `
    import { createTerminalLogger } from ${JSON.stringify(new URL("../../src/process/log.ts", import.meta.url).href)};
    createTerminalLogger("info").info(${JSON.stringify(fields)}, ${JSON.stringify(message)});`;
  const args = ["--import", "tsx", "--input-type=module", "-e", code];
  const env = { ...process.env, NO_COLOR: "1" };
  return (await promisify(execFile)(process.execPath, args, { env })).stdout;
}

describe("the log of a terminal", () => {
  it("shows what a terminal would obey as its code, on one line", async () => {
    const path = "/jobs/\u001b[2K\r\n12:00:00 INFO: all is well\u009b1A\u202e\u2028";
    const line = await printed({ path, error: "a\u0007b", secret: "x" }, "request\u001b]0;title\u0007");
    assert.ok(!/[\p{Cc}\u2028-\u202e]/u.test(line.trimEnd()), JSON.stringify(line));
    assert.equal(line.trimEnd().split("\n").length, 1);
    assert.match(line, /path=\/jobs\/\\u001b\[2K\\u000d\\u000a12:00:00 INFO: all is well\\u009b1A\\u202e\\u2028/);
    assert.match(line, /request\\u001b\]0;title\\u0007/);
  });
});
