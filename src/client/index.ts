export { type CallOptions, type Client, type ClientOptions, createClient } from "./client.ts";
export { ApiError } from "./errors.ts";
export type { Job, Result, Status, Submissions } from "./types.ts";
