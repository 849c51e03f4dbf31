import assert from "node:assert/strict";
import { createSecretKey, randomBytes } from "node:crypto";
import { defaultPayloadConverter, type Payload } from "@temporalio/common";
import type { PayloadKey } from "../../src/config/payloadKeys.ts";
import { createPayloadCodec, isUnreadable } from "../../src/temporal/payloadCodec.ts";

describe("the payload codec", () => {
  const one = aKey("one");
  const two = aKey("two");
  const value = { text: "Nobody else reads this.", url: "https://example.com/voice.wav?signature=1" };
  const plain = defaultPayloadConverter.toPayload(value);

  it("gives back what it encrypted, metadata included", async () => {
    const codec = createPayloadCodec([one], "throw");
    const binary = { metadata: { encoding: Buffer.from("binary/plain") }, data: randomBytes(100_000) };
    const empty = { metadata: { encoding: Buffer.from("binary/null") } };
    const decoded = await codec.decode(await codec.encode([plain, binary, empty]));
    assert.deepEqual(decoded.map(comparable), [plain, binary, empty].map(comparable));
  });

  it("shows nothing but the key's id", async () => {
    const [encrypted] = await createPayloadCodec([one], "throw").encode([plain]);
    const { encoding, ...metadata } = encrypted!.metadata!;
    assert.equal(String(encoding), "binary/encrypted");
    assert.deepEqual(
      Object.entries(metadata).map(([key, id]) => [key, String(id)]),
      [["encryption-key-id", "one"]],
    );
    assert.ok(!Buffer.from(encrypted!.data!).includes("Nobody"));
  });

  it("encrypts the same value differently each time", async () => {
    const [first, second] = await createPayloadCodec([one], "throw").encode([plain, plain]);
    assert.notDeepEqual(first!.data, second!.data);
  });

  it("encrypts with the first key and reads what each of them encrypted", async () => {
    const before = createPayloadCodec([one], "throw");
    const rotated = createPayloadCodec([two, one], "throw");
    const [old] = await before.encode([plain]);
    const [fresh] = await rotated.encode([plain]);
    assert.deepEqual((await rotated.decode([old!, fresh!])).map(comparable), [plain, plain].map(comparable));
    assert.equal(String(fresh!.metadata!["encryption-key-id"]), "two");
    await assert.rejects(before.decode([fresh!]), /key "two", which is not known here/);
  });

  it("reads what was never encrypted, and encrypts nothing without a key", async () => {
    assert.deepEqual(await createPayloadCodec([one], "throw").decode([plain]), [plain]);
    assert.deepEqual(await createPayloadCodec([], "throw").encode([plain]), [plain]);
  });

  it("says which key is missing when all were taken away", async () => {
    const encrypted = await createPayloadCodec([one], "throw").encode([plain]);
    await assert.rejects(createPayloadCodec([], "throw").decode(encrypted), /key "one", which is not known here/);
  });

  it("refuses what was changed: any byte, the key's id, a piece cut off, another key of the same name", async () => {
    const codec = createPayloadCodec([one, two], "throw");
    const [encrypted] = await codec.encode([plain]);
    const bytes = Buffer.from(encrypted!.data!);
    const changed: Payload[] = [0, 11, 12, 40, bytes.length - 17, bytes.length - 16, bytes.length - 1].map((at) => {
      const data = Buffer.from(bytes);
      data.writeUInt8(data.readUInt8(at) ^ 1, at);
      return { ...encrypted!, data };
    });
    for (const length of [0, 1, 12, 27, 28, bytes.length - 1]) {
      changed.push({ ...encrypted!, data: bytes.subarray(0, length) });
    }
    changed.push({ metadata: { ...encrypted!.metadata, "encryption-key-id": Buffer.from("two") }, data: bytes });
    changed.push({ metadata: encrypted!.metadata! });
    for (const payload of changed)
      await assert.rejects(codec.decode([payload]), /is not what the key "(one|two)" encrypted/);
    await assert.rejects(createPayloadCodec([aKey("one")], "throw").decode([encrypted!]), /damaged, or by another key/);
  });

  it("lets readers see what can be read beside what cannot", async () => {
    const [readable] = await createPayloadCodec([one], "throw").encode([plain]);
    const [lost] = await createPayloadCodec([two], "throw").encode([plain]);
    const decoded = await createPayloadCodec([one], "mark").decode([lost!, readable!]);
    const [marked, read] = decoded.map((payload) => defaultPayloadConverter.fromPayload(payload));
    assert.deepEqual(marked, { unreadable: 'a payload is encrypted with the key "two", which is not known here' });
    assert.ok(isUnreadable(marked));
    assert.deepEqual(read, value);
    assert.ok(!isUnreadable(read));
  });
});

function aKey(id: string): PayloadKey {
  return { id, secret: createSecretKey(randomBytes(32)) };
}

function comparable({ metadata, data }: Payload) {
  const entries = Object.entries(metadata ?? {}).map(([key, bytes]) => [key, Buffer.from(bytes).toString()]);
  return { metadata: entries, data: Buffer.from(data ?? []).toString("hex") };
}
