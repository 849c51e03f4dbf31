import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { defaultPayloadConverter, METADATA_ENCODING_KEY, type Payload, type PayloadCodec } from "@temporalio/common";
import proto from "@temporalio/proto";
import { z } from "zod";
import type { PayloadKey } from "../config/payloadKeys.ts";

/**
 * What a payload that cannot be decrypted becomes. `throw`: for workers, whose workflow must not run on something
 * else than what it was given; the server tries the task again until a worker has the key. `mark`: for readers,
 * who show many payloads at once, of which one must not hide the others; it reads `{ unreadable: <sentence> }`.
 */
export type Unreadable = "throw" | "mark";

/** The format of Temporal's own samples: nonce, ciphertext and tag of the serialized payload. */
const ENCODING = "binary/encrypted";
const KEY_ID = "encryption-key-id";
const CIPHER = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

const { Payload: PayloadMessage } = proto.temporal.api.common.v1;

class UnreadablePayload extends Error {
  override name = "UnreadablePayload";
}

/**
 * Encrypts what goes into Temporal with the first of the keys, and decrypts what comes out of it with the one that it
 * names. What was never encrypted is read as it is, and without a key nothing is encrypted.
 */
export function createPayloadCodec(keys: readonly PayloadKey[], unreadable: Unreadable): PayloadCodec {
  const [current] = keys;
  const byId = new Map(keys.map((key) => [key.id, key]));
  return {
    encode: async (payloads) => (current === undefined ? payloads : payloads.map((plain) => encrypt(plain, current))),
    async decode(payloads, context) {
      const read = (payload: Payload) => {
        return encodingOf(payload) === ENCODING ? decrypt(payload, byId, context?.workflowId) : payload;
      };
      return payloads.map(unreadable === "mark" ? (payload) => orMark(payload, read) : read);
    },
  };
}

const markSchema = z.object({ unreadable: z.string() });

/** Whether a decoded value stands for one that could not be decrypted. */
export function isUnreadable(value: unknown): boolean {
  return markSchema.safeParse(value).success;
}

function encrypt(plain: Payload, { id, secret }: PayloadKey): Payload {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, secret, nonce);
  const ciphertext = cipher.update(PayloadMessage.encode(plain).finish());
  return {
    metadata: { [METADATA_ENCODING_KEY]: Buffer.from(ENCODING), [KEY_ID]: Buffer.from(id) },
    data: Buffer.concat([nonce, ciphertext, cipher.final(), cipher.getAuthTag()]),
  };
}

/** @throws UnreadablePayload when there is no such key, or when the key did not make this payload */
function decrypt({ metadata, data }: Payload, keys: ReadonlyMap<string, PayloadKey>, owner = "a payload"): Payload {
  const id = textOf(metadata?.[KEY_ID]);
  const key = keys.get(id);
  if (key === undefined)
    throw new UnreadablePayload(`${owner} is encrypted with the key "${id}", which is not known here`);
  try {
    const bytes = Buffer.from(data ?? []);
    const nonce = bytes.subarray(0, NONCE_BYTES);
    const decipher = createDecipheriv(CIPHER, key.secret, nonce, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const plain = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    return PayloadMessage.decode(plain);
  } catch (cause) {
    throw new UnreadablePayload(`${owner} is not what the key "${id}" encrypted: damaged, or by another key`, {
      cause,
    });
  }
}

function orMark(payload: Payload, read: (payload: Payload) => Payload): Payload {
  try {
    return read(payload);
  } catch (error) {
    if (!(error instanceof UnreadablePayload)) throw error;
    return defaultPayloadConverter.toPayload({ unreadable: error.message });
  }
}

function encodingOf({ metadata }: Payload): string {
  return textOf(metadata?.[METADATA_ENCODING_KEY]);
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return Buffer.from(bytes ?? []).toString();
}
