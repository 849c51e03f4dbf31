import { z } from "zod";
import { MIN_SECRET_CHARS } from "../storage/fileLinks.ts";
import { apiKeySchema, apiKeysSchema } from "./apiKeys.ts";
import { payloadKeysSchema } from "./payloadKeys.ts";
import type { OwnNode, PoolConfig } from "./types.ts";

const flag = z.stringbool();
const seconds = z.coerce.number().nonnegative().finite();
const count = z.coerce.number().int().nonnegative();
const port = z.coerce.number().int().min(0).max(65_535);
const origin = z.url({ protocol: /^https?$/ }).transform((url) => new URL(url).origin);
const list = z.string().transform((text) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== ""),
);
const url = z.url({ protocol: /^https?$/ }).transform((text) => text.replace(/\/+$/, ""));
const text = z.string().min(1);
const pools = z.string().transform((value, context): Record<string, PoolConfig> => {
  const pool = z.object({ min: count.optional(), max: count, rate: z.number().nonnegative().optional() });
  const shape = z.record(z.string(), pool);
  try {
    return shape.parse(JSON.parse(value));
  } catch {
    context.addIssue({
      code: "custom",
      message: 'must be JSON like {"media:fast": {"min": 0, "max": 4, "rate": 0.5}}',
    });
    return z.NEVER;
  }
});

const names = z.string().transform((value, context): Record<string, string> => {
  try {
    return z.record(z.string(), z.string().min(1)).parse(JSON.parse(value));
  } catch {
    context.addIssue({ code: "custom", message: 'must be JSON like {"svd_xt.safetensors": "svd_xt_1_1.safetensors"}' });
    return z.NEVER;
  }
});

const ownNodes = z.string().transform((value, context): OwnNode[] => {
  const node = z.object({ name: text, type: text, url, comfyui_url: url.optional() });
  try {
    const nodes = z.array(node).parse(JSON.parse(value));
    return nodes.map(({ comfyui_url: comfyuiUrl, ...rest }) => ({ ...rest, comfyuiUrl }));
  } catch {
    const message = 'must be JSON like [{"name": "gpu1", "type": "media:fast", "url": "http://10.0.0.5:8000"}]';
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  }
});

const claim = z
  .string()
  .regex(/^[^=\s]+=\S+$/, "must be like groups=render-admins")
  .transform((pair) => ({ claim: pair.slice(0, pair.indexOf("=")), value: pair.slice(pair.indexOf("=") + 1) }));

/** Every variable, with its default. `.env.example` lists them. */
export const environmentSchema = z.object({
  PORT: port.default(5000),
  HOST: text.optional(),
  C3_RENDER_API_KEY: apiKeySchema.optional(),
  C3_RENDER_KEYS: apiKeysSchema.default([]),
  OIDC_ISSUER: z.url({ protocol: /^https?$/ }).optional(),
  OIDC_AUDIENCE: text.optional(),
  OIDC_ADMIN: claim.optional(),
  ALLOW_UNAUTHENTICATED: flag.default(false),
  TLS_CERT: text.optional(),
  TLS_KEY: text.optional(),
  PUBLIC_URL: url.optional(),
  TRUST_PROXY: flag.default(false),
  SHUTDOWN_DELAY: seconds.default(5),
  CORS_ORIGINS: list.default([]),
  MAX_BODY_BYTES: count.default(1024 * 1024),
  BODY_TIMEOUT: seconds.min(1).default(60),
  RATE_LIMIT: count.min(1).default(300),
  AUTH_FAILURES_PER_MINUTE: count.min(1).default(30),
  MAX_OPEN_REQUESTS: count.min(1).default(500),
  RATE_LIMIT_REDIS_URL: z.url({ protocol: /^rediss?$/ }).optional(),
  MAX_QUEUED: count.min(1).default(5000),
  MAX_QUEUED_PER_TENANT: count.min(1).optional(),

  TEMPORAL_ADDRESS: text.optional(),
  TEMPORAL_NAMESPACE: text.default("c3-render"),
  WORKER_VERSIONING: flag.default(false),
  TEMPORAL_API_KEY: text.optional(),
  TEMPORAL_TLS: flag.optional(),
  TEMPORAL_TLS_SERVER_NAME: text.optional(),
  TEMPORAL_TLS_CA: text.optional(),
  TEMPORAL_TLS_CERT: text.optional(),
  TEMPORAL_TLS_KEY: text.optional(),
  RESULT_RETENTION_DAYS: count.min(1).default(30),
  RETENTION_DAYS: count.min(1).default(30),
  TEMPORAL_PAYLOAD_KEYS: payloadKeysSchema.default([]),
  TEMPORAL_UI_ORIGIN: origin.optional(),

  C3_API_URL: url.default("https://api.comput3.ai/api/v0"),
  C3_API_KEY: text.optional(),
  NODE_URL_TEMPLATE: text.default("https://{node}"),
  COMFYUI_URL_TEMPLATE: text.default("https://ui-{node}"),

  GPU_PROVIDER: z.enum(["comput3", "simulator", "static"]).optional(),
  GPU_NODES: ownNodes.default([]),
  GPU_MIN: count.default(0),
  MAX_GPUS: count.min(1).default(4),
  GPU_POOLS: pools.optional(),
  GPU_IDLE_TIMEOUT: seconds.default(300),
  GPU_IDLE_POLICY: z.enum(["fixed", "adaptive"]).default("fixed"),
  DEFAULT_GPU_LAUNCH: seconds.min(120).default(7200),
  DEFAULT_GPU_REPLACE: seconds.default(3600),
  GPU_READY_TIMEOUT: seconds.default(300),
  GPU_BOOT_DELAY: seconds.default(5),
  GPU_WATCH_INTERVAL: seconds.default(15),
  PRE_LAUNCH_TIMEOUT: seconds.default(15),
  PRE_LAUNCH_TIMEOUT_MAX: seconds.default(30),
  MAX_GPU_ATTEMPTS: count.min(1).default(2),
  CANCEL_SETTLE: seconds.default(60),

  DEFAULT_MAX_TIME: count.min(60).max(7200).default(1200),
  DEFAULT_COMPLETE_IN: count.min(60).max(86_400).default(3600),
  MAX_RENDER_TIME: count.min(1).default(1800),
  MAX_TEXT_CHARS: count.min(1).default(20_000),

  PORTRAIT_GREETING: text.default("Hello! It is nice to meet you."),
  PORTRAIT_WORKFLOW: text.optional(),
  PORTRAIT_NAMES: names.default({}),
  RENDER_POLLING_INTERVAL: seconds.min(0.1).default(5),
  VISION_POOL: text.default("ollama_webui:fast"),
  VISION_MODELS: list.pipe(z.array(text).min(1)).default(["llama3.2-vision:11b"]),
  VISION_PULL: flag.default(false),
  MODAL_TOKEN_ID: text.optional(),
  MODAL_TOKEN_SECRET: text.optional(),
  MODAL_CONTRACT: z.enum(["c3-render", "musetalk-poc"]).default("c3-render"),
  MODAL_APP: text.optional(),
  MODAL_FUNCTION: text.optional(),
  MODAL_ENVIRONMENT: text.optional(),
  MODAL_SERVER_URL: url.optional(),

  STORAGE: z.enum(["filesystem", "s3"]).optional(),
  STORAGE_DIR: text.optional(),
  STORAGE_SHARED: flag.default(false),
  FILES_SECRET: z.string().min(MIN_SECRET_CHARS, `must have ${MIN_SECRET_CHARS} characters or more`).optional(),
  MINIO_ENDPOINT: text.optional(),
  MINIO_PUBLIC_URL: url.optional(),
  MINIO_ACCESS_KEY: text.optional(),
  MINIO_SECRET_KEY: text.optional(),
  MINIO_BUCKET: text.min(3).default("c3-render-output"),
  MINIO_SECURE: flag.default(false),
  S3_REGION: text.default("us-east-1"),

  MAX_IMAGE_BYTES: count.default(25 * 1024 * 1024),
  MAX_AUDIO_BYTES: count.default(200 * 1024 * 1024),
  MAX_VIDEO_BYTES: count.default(500 * 1024 * 1024),
  MAX_AUDIO_SECONDS: seconds.default(3600),
  MAX_PORTRAIT_SECONDS: seconds.default(120),
  ALLOW_LOCAL_PATHS: text.optional(),
  DOWNLOAD_TIMEOUT: seconds.default(120),

  WEBHOOK_SECRET: list.default([]),
  WEBHOOK_TIMEOUT: seconds.max(15).default(10),
  WEBHOOK_RETRY: z.enum(["short", "extended"]).default("short"),
  WEBHOOK_STATUSES: list.default(["success", "failed", "timed_out", "cancelled"]),

  OUTPUT_DIR: text.default("./output"),
  KEEP_TEMP_FILES: flag.default(false),
  TRUSTED_ORIGINS: list.pipe(z.array(origin)).default([]),
  TRUSTED_INPUT_ORIGINS: list.pipe(z.array(origin)).default([]),
  TRUSTED_WEBHOOK_ORIGINS: list.pipe(z.array(origin)).default([]),
  FFMPEG_PATH: text.optional(),
  FFPROBE_PATH: text.optional(),
  LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "silent"]).default("info"),
  METRICS_PORT: port.optional(),
  METRICS_HOST: text.default("127.0.0.1"),
  SIM_PORT: port.default(5050),
  SIM_LAUNCH_SECONDS: seconds.default(3),
  SIM_SPEED: seconds.default(1),
  SIM_RATE_PER_HOUR: seconds.default(0.5),
  SIM_COMFYUI_VERSION: z.enum(["0.3.33", "0.3.49", "0.3.64", "latest"]).default("0.3.64"),
  SIM_GRADIO_VERSION: z.enum(["4.44", "5.50", "6.31"]).default("6.31"),
  C3_RENDER_URL: url.default("http://127.0.0.1:5000"),
  C3_RENDER_DATA_DIR: text.default("./.c3-render"),
  STOP_TIMEOUT: seconds.default(45),
  TEMPORAL_CLI_PATH: text.optional(),
  TEMPORAL_PORT: port.default(7233),
  TEMPORAL_UI_PORT: port.default(8233),
});

export type Environment = z.infer<typeof environmentSchema>;
