export { type CallOptions, type Client, type ClientOptions, createClient } from "./client.ts";
export { ApiError } from "./errors.ts";
export type { Job, JobFilter, JobPage, Result, Status, Submissions } from "./types.ts";
