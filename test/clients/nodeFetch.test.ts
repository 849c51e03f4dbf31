import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { announcedLength, nodeFetch } from "../../src/clients/nodeFetch.ts";

describe("a call to a node", () => {
  it("has its key, and asks for what is not compressed", async () => {
    const server = createServer((request, response) => response.end(JSON.stringify(request.headers)));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const answer = await nodeFetch(`http://127.0.0.1:${port}/`, "k", { headers: { "Content-Type": "text/x" } });
    const seen = (await answer.json()) as Record<string, string>;
    assert.deepEqual(
      [seen["x-c3-api-key"], seen["accept-encoding"], seen["content-type"]],
      ["k", "identity", "text/x"],
    );
    server.close();
  });

  it("counts on a length only where nothing was decoded", () => {
    const lengthOf = (headers: Record<string, string>) => announcedLength(new Headers(headers));
    assert.equal(lengthOf({ "content-length": "5" }), "5");
    assert.equal(lengthOf({ "content-length": "5", "content-encoding": "identity" }), "5");
    assert.equal(lengthOf({ "content-length": "5", "content-encoding": "br" }), null);
    assert.equal(lengthOf({}), null);
  });
});
