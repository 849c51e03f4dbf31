import { mkdtemp, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Program } from "./binaries.ts";

/** The last release of the Temporal CLI that Go can build from its modules: server 1.29.1, Web UI 2.42.1. */
export function temporalCli(configuredPath: string | undefined): Program {
  const version = "1.5.1";
  return {
    name: "temporal",
    version,
    configuredPath,
    variable: "TEMPORAL_CLI_PATH",
    goModule: "github.com/temporalio/cli/cmd/temporal",
    // The driver that it asks for may leave its only connection unusable when a call is cancelled: the server then answers
    // nothing until it is started again.
    goNewer: ["modernc.org/sqlite@v1.44.3"],
    async download(folder) {
      const { TestWorkflowEnvironment } = await import("@temporalio/testing");
      const downloadDir = await mkdtemp(join(folder, "download-"));
      // The SDK downloads on the way to starting a server; the file is what is wanted.
      const environment = await TestWorkflowEnvironment.createLocal({
        server: { executable: { type: "cached-download", version: `v${version}`, downloadDir } },
      });
      await environment.teardown();
      const file = (await readdir(downloadDir)).find((name) => name.startsWith("temporal"));
      if (file === undefined) throw new Error("the download left no file");
      return join(downloadDir, file);
    },
  };
}
