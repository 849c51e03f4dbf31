import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withTempFolder } from "../../../src/activities/inputs/tempFolder.ts";

describe("a folder for temporary files", () => {
  it("is readable by its owner only, and gone afterwards", async () => {
    const parent = await mkdtemp(join(tmpdir(), "c3-render-temp-"));
    try {
      const outputDir = join(parent, "output");
      const modes = await withTempFolder({ outputDir, keepTempFiles: false }, "a-job", async (folder) =>
        Promise.all([outputDir, folder].map(async (path) => (await stat(path)).mode & 0o077)),
      );
      assert.deepEqual(modes, [0, 0]);
      assert.deepEqual(await readdir(outputDir), []);
    } finally {
      await rm(parent, { recursive: true, force: true });
    }
  });
});
