import { fileURLToPath } from "node:url";
import { pythonWith } from "../support/python.ts";
import { JOB_TIMEOUT_MS, type Service, startService, type Version } from "./service.ts";
import { speech } from "./speech.ts";
import { transcription } from "./transcription.ts";
import { trouble } from "./trouble.ts";

/** pip takes a minute or two, once. */
const INSTALL_TIMEOUT_MS = 20 * 60_000;
const versions: ({ version: string } & Version)[] = [
  { version: "4.44.1", small: true },
  { version: "5.50.0", runsCancelled: true },
  { version: "6.31.0", newest: true },
];

for (const { version, ...kind } of versions) {
  describe(`real applications of Gradio ${version}`, function () {
    this.timeout(JOB_TIMEOUT_MS);
    let running: Service | undefined;
    const service = () => running as Service;

    before(async function () {
      this.timeout(INSTALL_TIMEOUT_MS);
      const requirements = fileURLToPath(new URL(`requirements/gradio-${version}.txt`, import.meta.url));
      const python = await pythonWith(requirements);
      if (python === undefined) this.skip();
      running = await startService({ python });
    });
    beforeEach(() => service().node.reset());
    after(() => running?.close());

    describe("speech", () => speech(service, kind));
    describe("transcription", () => transcription(service, kind));
    // Last, for it ends with a restart.
    describe("trouble", () => trouble(service, kind));
  });
}
