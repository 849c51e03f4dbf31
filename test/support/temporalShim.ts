import { Client, Connection } from "@temporalio/client";
import { closeAfterAll } from "./hooks.ts";
let c: Promise<{address: string; client: Client}> | undefined;
export function testTemporal() {
  c ??= (async () => {
    const connection = await Connection.connect({ address: "127.0.0.1:7311" });
    closeAfterAll(() => connection.close());
    return { address: "127.0.0.1:7311", client: new Client({ connection, namespace: "api-test" }) };
  })();
  return c;
}
