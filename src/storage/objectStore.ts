import type { Readable } from "node:stream";

export interface ObjectInfo {
  key: string;
  bytes: number;
  contentType: string;
  lastModified: Date;
}

export interface PutOptions {
  contentType: string;
  signal?: AbortSignal;
}

export interface GetOptions {
  signal?: AbortSignal;
  range?: { start: number; end: number };
}

export interface LinkOptions {
  expiresInSeconds: number;
  /** The name that a browser saves the file under. */
  downloadName?: string;
  /** A browser shows it, where it can, and does not save it. */
  inline?: boolean;
}

/** Where results and inputs are kept. Keys are built in `keys.ts` and nowhere else. */
export interface ObjectStore {
  /** Resolves when the bucket or folder is there and can be written to. */
  ensureReady(): Promise<void>;
  /**
   * Stores a stream of any length under `key`, replacing what is there, all or nothing.
   * @returns the number of bytes stored
   */
  put(key: string, body: Readable, options: PutOptions): Promise<number>;
  /**
   * @returns the object, or the bytes of it that `range` names, both ends included
   * @throws ObjectNotFound
   */
  get(key: string, options?: GetOptions): Promise<{ info: ObjectInfo; body: Readable }>;
  /** What is stored under `key`, or undefined. */
  head(key: string): Promise<ObjectInfo | undefined>;
  /** Every object whose key starts with `prefix`. */
  list(prefix: string): AsyncIterable<ObjectInfo>;
  /** Removes objects; a key that is not there is no error. */
  remove(keys: readonly string[]): Promise<void>;
  /** A URL that anybody can GET until it expires, without a key. */
  link(key: string, options: LinkOptions): Promise<string>;
}

export class ObjectNotFound extends Error {
  override name = "ObjectNotFound";
  constructor(key: string) {
    super(`there is no object ${key}`);
  }
}
