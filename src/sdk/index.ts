export { type CallOptions, type Client, type ClientOptions, createClient, type PatientOptions } from "./client.ts";
export { ApiError } from "./errors.ts";
export type { JobEvent } from "./events.ts";
export type * from "./types.ts";
