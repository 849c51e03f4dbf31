import { Readable } from "node:stream";
import {
  CreateBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  NoSuchKey,
  NotFound,
  paginateListObjectsV2,
  S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import type { S3Config } from "../config/index.ts";
import { contentTypeOf } from "./contentTypes.ts";
import { disposition } from "./disposition.ts";
import { ObjectNotFound, type ObjectStore } from "./objectStore.ts";

const CONNECT_TIMEOUT_MS = 5000;
const IDLE_TIMEOUT_MS = 30_000;
/** At most this many keys per delete call. */
const DELETE_BATCH = 1000;

/** Objects in a bucket of any S3: AWS, MinIO, R2 … */
export function createS3Store(config: S3Config): ObjectStore {
  const { bucket: Bucket } = config;
  const client = clientFor(config, config.endpoint);
  // A link is signed for the host that it names.
  const linkClient = config.publicUrl === undefined ? client : clientFor(config, config.publicUrl);

  const store: ObjectStore = {
    async ensureReady() {
      try {
        await client.send(new HeadBucketCommand({ Bucket }));
      } catch (error) {
        if (!(error instanceof NotFound)) throw error;
        await createBucket(client, Bucket);
      }
    },

    async put(Key, body, { contentType, signal }) {
      const counted = countBytes(body);
      const upload = new Upload({
        client,
        params: { Bucket, Key, Body: counted.stream, ContentType: contentType },
        leavePartsOnError: false,
      });
      const abort = () => void upload.abort();
      signal?.addEventListener("abort", abort, { once: true });
      try {
        signal?.throwIfAborted();
        await upload.done();
        return counted.bytes();
      } finally {
        signal?.removeEventListener("abort", abort);
      }
    },

    async get(Key, { range, signal } = {}) {
      const Range = range === undefined ? undefined : `bytes=${range.start}-${range.end}`;
      try {
        const answer = await client.send(new GetObjectCommand({ Bucket, Key, Range }), {
          ...(signal && { abortSignal: signal }),
        });
        const total = answer.ContentRange?.split("/").at(-1) ?? answer.ContentLength;
        return { info: infoOf(Key, Number(total), answer), body: readableOf(answer.Body) };
      } catch (error) {
        if (error instanceof NoSuchKey) throw new ObjectNotFound(Key);
        throw error;
      }
    },

    async head(Key) {
      try {
        const answer = await client.send(new HeadObjectCommand({ Bucket, Key }));
        return infoOf(Key, answer.ContentLength ?? 0, answer);
      } catch (error) {
        if (error instanceof NotFound) return undefined;
        throw error;
      }
    },

    async *list(Prefix) {
      for await (const page of paginateListObjectsV2({ client }, { Bucket, Prefix })) {
        for (const { Key, Size, LastModified } of page.Contents ?? []) {
          if (Key !== undefined) yield infoOf(Key, Size ?? 0, { LastModified });
        }
      }
    },

    async remove(keys) {
      for (let start = 0; start < keys.length; start += DELETE_BATCH) {
        const Objects = keys.slice(start, start + DELETE_BATCH).map((Key) => ({ Key }));
        const { Errors = [] } = await client.send(
          new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }),
        );
        const [first] = Errors;
        if (first !== undefined) throw new Error(`${Errors.length} objects were not removed: ${first.Message}`);
      }
    },

    link(Key, { expiresInSeconds, downloadName, inline }) {
      const ResponseContentDisposition =
        downloadName && disposition(inline === true ? "inline" : "attachment", downloadName);
      // A bucket forbids no scripts: what somebody has said must not become a page that runs on its domain.
      const ResponseContentType =
        inline === true && contentTypeOf(Key).startsWith("text/html") ? "text/plain; charset=utf-8" : undefined;
      const command = new GetObjectCommand({ Bucket, Key, ResponseContentDisposition, ResponseContentType });
      return getSignedUrl(linkClient, command, { expiresIn: expiresInSeconds });
    },
  };
  return store;
}

function clientFor({ region, accessKey, secretKey }: S3Config, endpoint: string | undefined): S3Client {
  // The SDK warns at each start that it will leave Node 20 one day; which Node runs is not the reader's affair.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
  return new S3Client({
    region,
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(accessKey === undefined || secretKey === undefined
      ? {}
      : { credentials: { accessKeyId: accessKey, secretAccessKey: secretKey } }),
    requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, socketTimeout: IDLE_TIMEOUT_MS },
  });
}

/** Two processes may start at once: one of them finds the bucket made. */
async function createBucket(client: S3Client, Bucket: string): Promise<void> {
  try {
    await client.send(new CreateBucketCommand({ Bucket }));
  } catch (error) {
    const made = error instanceof S3ServiceException && /^Bucket(AlreadyOwnedByYou|AlreadyExists)$/.test(error.name);
    if (!made) throw error;
    await client.send(new HeadBucketCommand({ Bucket }));
  }
}

function infoOf(
  key: string,
  bytes: number,
  answer: { ContentType?: string | undefined; LastModified?: Date | undefined },
) {
  const { ContentType, LastModified } = answer;
  return { key, bytes, contentType: ContentType ?? contentTypeOf(key), lastModified: LastModified ?? new Date(0) };
}

function countBytes(body: Readable): { stream: Readable; bytes: () => number } {
  let bytes = 0;
  const stream = body.map((chunk: Buffer) => {
    bytes += chunk.length;
    return chunk;
  });
  return { stream, bytes: () => bytes };
}

/** In Node the SDK answers with a Node stream; its type also allows those of browsers. */
function readableOf(body: unknown): Readable {
  if (body instanceof Readable) return body;
  throw new TypeError("the object store answered without a body");
}
