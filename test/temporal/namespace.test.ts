import { Client, Connection } from "@temporalio/client";
import { loadConfig } from "../../src/config/index.ts";
import { startTemporalServer, type TemporalServer } from "../../src/dev/temporalServer.ts";
import { searchAttributes } from "../../src/temporal/connection.ts";
import { ensureNamespace } from "../../src/temporal/namespace.ts";
import { temporalExecutable } from "../support/programs.ts";

/** A development server looks everything up anew; a real one keeps what it knows of search attributes for some seconds. */
const AS_IN_PRODUCTION = { "system.forceSearchAttributesCacheRefreshOnRead": false };

describe("a namespace that was just made", () => {
  let server: TemporalServer;

  before(async () => {
    const executable = await temporalExecutable();
    server = await startTemporalServer({ executable, port: 0, dynamicConfig: AS_IN_PRODUCTION, say: () => {} });
  });
  after(() => server?.stop());

  it("takes jobs as soon as it is said to be ready", async () => {
    const { address } = server;
    const { temporal } = loadConfig({ TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: "new" });
    // Two processes that start at one time prepare it together.
    await Promise.all([ensureNamespace(temporal), ensureNamespace(temporal)]);
    const client = new Client({ connection: await Connection.connect({ address }), namespace: "new" });
    const { jobType, jobState, tenant, completeBy } = searchAttributes;
    const typedSearchAttributes = [
      { key: jobType, value: "csm" },
      { key: jobState, value: "queued" },
      { key: tenant, value: "default" },
      { key: completeBy, value: new Date() },
    ];
    await client.workflow.start("renderJob", { workflowId: "job", taskQueue: "q", typedSearchAttributes });
    await client.connection.close();
  });
});
