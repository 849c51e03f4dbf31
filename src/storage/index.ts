import type { StorageConfig } from "../config/index.ts";
import { createFilesystemStore } from "./filesystem.ts";
import type { ObjectStore } from "./objectStore.ts";
import { createS3Store } from "./s3.ts";

/** @param baseUrl of the API, for the links of the filesystem store; empty for relative links */
export function createObjectStore(storage: StorageConfig, baseUrl: string): ObjectStore {
  switch (storage.kind) {
    case "filesystem":
      return createFilesystemStore({ dir: storage.dir, linkSecret: storage.linkSecret, baseUrl });
    case "s3":
      return createS3Store(storage.s3);
    default:
      return storage satisfies never;
  }
}
