import { readFileSync } from "node:fs";
import { z } from "zod";
import { type ApiKey, apiKeysSchema } from "./apiKeys.ts";
import { type PayloadKey, payloadKeysSchema } from "./payloadKeys.ts";

/**
 * The environment, read once into one validated object. This is the only place that reads it; everything
 * else is handed a `Config`. `.env.example` lists every variable.
 */
export interface Config {
  api: ApiConfig;
  temporal: TemporalConfig;
  comput3: Comput3Config;
  gpu: GpuConfig;
  jobs: JobsConfig;
  portrait: PortraitConfig;
  vision: VisionConfig;
  /** undefined: there are no lip-sync jobs. */
  modal: ModalConfig | undefined;
  storage: StorageConfig;
  inputs: InputsConfig;
  webhook: WebhookConfig;
  /** After so many days what jobs left in the object store is removed. */
  resultRetentionDays: number;
  /** Temporary files, one folder per job and attempt. */
  outputDir: string;
  keepTempFiles: boolean;
  /** Origins that safeFetch lets through although their address is not public. */
  trustedOrigins: string[];
  ffmpegPath: string | undefined;
  ffprobePath: string | undefined;
  logLevel: LogLevel;
  metrics: MetricsConfig;
  simulator: SimulatorConfig;
  embedded: EmbeddedConfig;
}

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "silent";

export interface ApiConfig {
  host: string;
  port: number;
  /** The single key of tenant `default`. */
  key: string | undefined;
  /** Of tenants by name. */
  keys: ApiKey[];
  oidc: OidcConfig | undefined;
  /** Whether callers have to say who they are. */
  requiresKey: boolean;
  allowUnauthenticated: boolean;
  /** In PEM; plain HTTP when undefined. */
  tls: { cert: string; key: string } | undefined;
  /** The origin that links are made for; the request's own when undefined. */
  publicUrl: string | undefined;
  trustProxy: boolean;
  corsOrigins: string[];
  maxBodyBytes: number;
  /** Submissions per key; everything else has ten times that. */
  rateLimitPerMinute: number;
  /** undefined: every process counts on its own. */
  rateLimitRedisUrl: string | undefined;
  /** Jobs that wait for a GPU. */
  maxQueued: number;
  maxQueuedPerTenant: number;
}

/** An issuer of OpenID Connect whose tokens are taken; their subject is the tenant. */
export interface OidcConfig {
  /** Exactly as in its tokens. */
  issuer: string;
  /** undefined: tokens of the issuer are taken whoever they were made for. */
  audience: string | undefined;
  /** The claim, and its value, that makes an administrator. */
  admin: { claim: string; value: string } | undefined;
}

export interface TemporalConfig {
  /** undefined: the embedded stack starts a server of its own. */
  address: string | undefined;
  namespace: string;
  apiKey: string | undefined;
  tls: TemporalTls | undefined;
  retentionDays: number;
  /** The first one encrypts, all of them decrypt; none: nothing is encrypted. */
  payloadKeys: PayloadKey[];
  /** Where the Web UI is that may have payloads decrypted by the API. */
  uiOrigin: string | undefined;
}

export interface TemporalTls {
  serverName: string | undefined;
  caFile: string | undefined;
  certFile: string | undefined;
  keyFile: string | undefined;
}

export interface Comput3Config {
  apiUrl: string;
  apiKey: string | undefined;
  /** Of one call of the control API. */
  timeoutMs: number;
  /** `{node}` stands for the instance's host name. */
  nodeUrlTemplate: string;
  comfyuiUrlTemplate: string;
}

export interface GpuConfig {
  /** undefined: an embedded stack without a key takes the simulator, anything else refuses to start. */
  provider: "comput3" | "simulator" | "static" | undefined;
  /** Of one's own; for the provider `static`. */
  nodes: OwnNode[];
  /** At least the types that jobs need. */
  pools: Record<string, PoolConfig>;
  idleTimeoutMs: number;
  /** `adaptive`: shorter than that where jobs come often, but not often enough for the instance. */
  idlePolicy: "fixed" | "adaptive";
  /** Asked for at launch. */
  lifetimeMs: number;
  /** Age at which an instance is drained. */
  replaceAfterMs: number;
  readyTimeoutMs: number;
  /** Between a launch and the first health check. */
  bootDelayMs: number;
  /** The delays between tries of a launch that the provider refused. */
  launchRetryMs: number[];
  watchIntervalMs: number;
  /** Between two health checks of a node that did not answer. */
  checkRetryMs: number;
  preLaunchMs: { min: number; max: number };
  /** GPUs that one job may use up. */
  maxAttempts: number;
  /** How long a cancelled run may take to be seen idle before its node is retired. */
  cancelSettleMs: number;
  leaseRenewalMs: number;
  leaseTimeoutMs: number;
  reconcileIntervalMs: number;
  /** How long a pool with no job and no GPU lives on. */
  poolLingerMs: number;
}

/** A node that one runs oneself. URLs have no trailing slash. */
export interface OwnNode {
  name: string;
  /** Workload type, such as `media:fast`. */
  type: string;
  url: string;
  /** Where its ComfyUI is, if not at `url`. */
  comfyuiUrl?: string | undefined;
}

export interface PoolConfig {
  /** Instances that are kept warm, job or no job; none when left out. */
  min?: number | undefined;
  /** Instances at one time. */
  max: number;
  /** Money per hour; without it only seconds are counted. */
  rate?: number | undefined;
}

export interface JobsConfig {
  defaultMaxTimeSeconds: number;
  defaultCompleteInSeconds: number;
  /** The operator's ceiling of `max_time`. */
  maxRenderTimeSeconds: number;
  maxTextChars: number;
}

export interface PortraitConfig {
  /** What a portrait says that was given nothing to say. */
  greeting: string;
  /** A ComfyUI graph (API format, JSON) with placeholders, instead of the built-in one. */
  workflowFile: string | undefined;
  /** Names of node classes and model files that differ from the usual ones, by the usual name. */
  names: Record<string, string>;
  /** Between two looks at a running prompt, where no event came. */
  pollIntervalMs: number;
}

export interface VisionConfig {
  /** The workload type that image analysis runs on. */
  pool: string;
  /** The models that may be asked for; the first one is the default. */
  models: string[];
  /** Let a node download a model that it lacks. */
  pull: boolean;
}

export interface ModalConfig {
  tokenId: string;
  tokenSecret: string;
  app: string;
  function: string;
  environment: string | undefined;
  /** undefined: Modal's own. */
  serverUrl: string | undefined;
}

export type StorageConfig =
  | { kind: "filesystem"; dir: string; shared: boolean; linkSecret: string | undefined }
  | { kind: "s3"; s3: S3Config };

export interface S3Config {
  /** undefined: AWS. */
  endpoint: string | undefined;
  /** Presigned links are made for it. */
  publicUrl: string | undefined;
  region: string;
  accessKey: string | undefined;
  secretKey: string | undefined;
  bucket: string;
}

export interface MetricsConfig {
  host: string;
  /** undefined: not served. */
  port: number | undefined;
}

export interface SimulatorConfig {
  port: number;
  /** From a launch until the node answers. */
  launchSeconds: number;
  /** Factor of the time that a render takes; 0: as fast as it can. */
  speed: number;
  ratePerHour: number;
  comfyuiVersion: "0.3.33" | "0.3.49" | "0.3.64" | "latest";
}

/** The stack that `npm start` and `npm run demo` bring up. */
export interface EmbeddedConfig {
  /** The database of the Temporal server; objects are in `storage`. */
  dataDir: string;
  temporalCliPath: string | undefined;
  temporalPort: number;
  temporalUiPort: number;
}

export interface InputsConfig {
  maxImageBytes: number;
  maxAudioBytes: number;
  maxVideoBytes: number;
  maxAudioSeconds: number;
  /** Of what a portrait says. */
  maxPortraitSeconds: number;
  /** The folder of this host from which lip-sync jobs may name files. */
  allowLocalPaths: string | undefined;
  downloadTimeoutMs: number;
}

export interface WebhookConfig {
  /** Each of them signs: the new one and the old one, while secrets are changed. Those of a tenant's keys come first. */
  secrets: string[];
  timeoutMs: number;
  /** The delays between attempts; one more attempt than delays. */
  retryDelaysMs: number[];
  /** The longest `Retry-After` that is waited for. */
  maxRetryAfterMs: number;
  statuses: string[];
  receivers: {
    /** Calls of one receiver at one time, by one worker process. */
    maxInFlight: number;
    /** Calls in a row without an answer, after which a receiver is left alone. */
    maxUnanswered: number;
    /** How long it is left alone before it is tried again. */
    pauseMs: number;
  };
}

/** A configuration that cannot be used; names every bad variable and never a secret's value. */
export class ConfigError extends Error {
  override name = "ConfigError";
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(`the configuration cannot be used:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`);
    this.problems = problems;
  }
}

const SECOND = 1000;
const WEBHOOK_SHORT_MS = [5, 5, 5, 5].map((seconds) => seconds * SECOND);
const WEBHOOK_EXTENDED_MS = [60, 300, 1800, 7200, 18_000].map((seconds) => seconds * SECOND);
/** Of the system that c3-render replaces; Temporal does their work. */
const replaced = /^(REDIS_|(WORKER|QUEUE|JOB)_POLLING_INTERVAL$)/;

/** The variables of `env` that used to mean something and are ignored. */
export function ignoredVariables(env: Record<string, string | undefined>): string[] {
  return Object.keys(env).filter((name) => replaced.test(name));
}

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

const environmentSchema = z.object({
  PORT: port.default(5000),
  HOST: text.optional(),
  C3_RENDER_API_KEY: text.optional(),
  C3_RENDER_KEYS: apiKeysSchema.default([]),
  OIDC_ISSUER: z.url({ protocol: /^https?$/ }).optional(),
  OIDC_AUDIENCE: text.optional(),
  OIDC_ADMIN: claim.optional(),
  ALLOW_UNAUTHENTICATED: flag.default(false),
  TLS_CERT: text.optional(),
  TLS_KEY: text.optional(),
  PUBLIC_URL: url.optional(),
  TRUST_PROXY: flag.default(false),
  CORS_ORIGINS: list.default([]),
  MAX_BODY_BYTES: count.default(1024 * 1024),
  RATE_LIMIT: count.min(1).default(300),
  RATE_LIMIT_REDIS_URL: z.url({ protocol: /^rediss?$/ }).optional(),
  MAX_QUEUED: count.min(1).default(5000),
  MAX_QUEUED_PER_TENANT: count.min(1).optional(),

  TEMPORAL_ADDRESS: text.optional(),
  TEMPORAL_NAMESPACE: text.default("c3-render"),
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
  MODAL_APP: text.default("musetalk"),
  MODAL_FUNCTION: text.default("lip_sync"),
  MODAL_ENVIRONMENT: text.optional(),
  MODAL_SERVER_URL: url.optional(),

  STORAGE: z.enum(["filesystem", "s3"]).optional(),
  STORAGE_DIR: text.optional(),
  STORAGE_SHARED: flag.default(false),
  FILES_SECRET: text.optional(),
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
  WEBHOOK_TIMEOUT: seconds.default(10),
  WEBHOOK_RETRY: z.enum(["short", "extended"]).default("short"),
  WEBHOOK_STATUSES: list.default(["success", "failed", "timed_out", "cancelled"]),

  OUTPUT_DIR: text.default("./output"),
  KEEP_TEMP_FILES: flag.default(false),
  TRUSTED_ORIGINS: list.pipe(z.array(origin)).default([]),
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
  C3_RENDER_URL: url.default("http://127.0.0.1:5000"),
  C3_RENDER_DATA_DIR: text.default("./.c3-render"),
  TEMPORAL_CLI_PATH: text.optional(),
  TEMPORAL_PORT: port.default(7233),
  TEMPORAL_UI_PORT: port.default(8233),
});

type Environment = z.infer<typeof environmentSchema>;

/** The origin of the API as seen from its own machine. */
export function ownOrigin({ tls, port }: Pick<ApiConfig, "tls" | "port">): string {
  return `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`;
}

/**
 * Reads a configuration from `env` (usually `process.env`). An empty value counts as not set. `NAME_FILE`
 * gives the value of `NAME` from a file, for secrets.
 * @throws ConfigError naming every bad value
 */
export function loadConfig(env: Record<string, string | undefined>): Config {
  return toConfig(readEnvironment(env, environmentSchema));
}

/**
 * What a program needs to know that calls the API: where it is, and the key.
 * @throws ConfigError
 */
export function loadClientConfig(env: Record<string, string | undefined>) {
  const schema = environmentSchema.pick({ C3_RENDER_URL: true, C3_RENDER_API_KEY: true });
  const { C3_RENDER_URL: baseUrl, C3_RENDER_API_KEY: apiKey } = readEnvironment(env, schema);
  return { baseUrl, apiKey };
}

function readEnvironment<T extends z.ZodObject>(env: Record<string, string | undefined>, schema: T): z.output<T> {
  const { values, problems } = withFiles(env, Object.keys(schema.shape));
  if ("TLS_CERT" in values !== "TLS_KEY" in values) problems.push("TLS_CERT: needs TLS_KEY, and the other way round");
  const parsed = schema.safeParse(values);
  if (!parsed.success) {
    problems.push(...parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`));
  }
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);
  return parsed.data;
}

function withFiles(env: Record<string, string | undefined>, names: readonly string[]) {
  const values: Record<string, string> = {};
  const problems: string[] = [];
  for (const name of names) {
    const value = env[name];
    const file = env[`${name}_FILE`];
    if (value !== undefined && value !== "") values[name] = value;
    else if (file !== undefined && file !== "") {
      try {
        values[name] = readFileSync(file, "utf8").trim();
      } catch (error) {
        problems.push(`${name}_FILE: cannot be read (${error instanceof Error ? error.message : String(error)})`);
      }
    }
  }
  return { values, problems };
}

function toConfig(env: Environment): Config {
  const { GPU_MIN: min, MAX_GPUS: max } = env;
  return {
    api: apiConfig(env),
    temporal: {
      address: env.TEMPORAL_ADDRESS,
      namespace: env.TEMPORAL_NAMESPACE,
      apiKey: env.TEMPORAL_API_KEY,
      tls: temporalTls(env),
      retentionDays: env.RETENTION_DAYS,
      payloadKeys: env.TEMPORAL_PAYLOAD_KEYS,
      uiOrigin: env.TEMPORAL_UI_ORIGIN,
    },
    comput3: {
      apiUrl: env.C3_API_URL,
      apiKey: env.C3_API_KEY,
      timeoutMs: 30 * SECOND,
      nodeUrlTemplate: env.NODE_URL_TEMPLATE,
      comfyuiUrlTemplate: env.COMFYUI_URL_TEMPLATE,
    },
    gpu: {
      provider: env.GPU_PROVIDER ?? (env.C3_API_KEY === undefined ? undefined : "comput3"),
      nodes: env.GPU_NODES,
      pools:
        env.GPU_PROVIDER === "static"
          ? poolsOf(env.GPU_NODES)
          : { "media:fast": { min, max }, [env.VISION_POOL]: { max }, ...env.GPU_POOLS },
      idleTimeoutMs: env.GPU_IDLE_TIMEOUT * SECOND,
      idlePolicy: env.GPU_IDLE_POLICY,
      lifetimeMs: env.DEFAULT_GPU_LAUNCH * SECOND,
      replaceAfterMs: env.DEFAULT_GPU_REPLACE * SECOND,
      readyTimeoutMs: env.GPU_READY_TIMEOUT * SECOND,
      bootDelayMs: env.GPU_BOOT_DELAY * SECOND,
      launchRetryMs: [5, 15, 30, 45, 60].map((delay) => delay * SECOND),
      watchIntervalMs: env.GPU_WATCH_INTERVAL * SECOND,
      checkRetryMs: 2 * SECOND,
      preLaunchMs: {
        min: env.PRE_LAUNCH_TIMEOUT * SECOND,
        max: Math.max(env.PRE_LAUNCH_TIMEOUT, env.PRE_LAUNCH_TIMEOUT_MAX) * SECOND,
      },
      maxAttempts: env.MAX_GPU_ATTEMPTS,
      cancelSettleMs: env.CANCEL_SETTLE * SECOND,
      leaseRenewalMs: 60 * SECOND,
      leaseTimeoutMs: 180 * SECOND,
      reconcileIntervalMs: 60 * SECOND,
      poolLingerMs: 600 * SECOND,
    },
    jobs: {
      defaultMaxTimeSeconds: env.DEFAULT_MAX_TIME,
      defaultCompleteInSeconds: env.DEFAULT_COMPLETE_IN,
      maxRenderTimeSeconds: env.MAX_RENDER_TIME,
      maxTextChars: env.MAX_TEXT_CHARS,
    },
    portrait: {
      greeting: env.PORTRAIT_GREETING,
      workflowFile: env.PORTRAIT_WORKFLOW,
      names: env.PORTRAIT_NAMES,
      pollIntervalMs: env.RENDER_POLLING_INTERVAL * SECOND,
    },
    vision: { pool: env.VISION_POOL, models: env.VISION_MODELS, pull: env.VISION_PULL },
    modal: modalConfig(env),
    storage: storageConfig(env),
    inputs: {
      maxImageBytes: env.MAX_IMAGE_BYTES,
      maxAudioBytes: env.MAX_AUDIO_BYTES,
      maxVideoBytes: env.MAX_VIDEO_BYTES,
      maxAudioSeconds: env.MAX_AUDIO_SECONDS,
      maxPortraitSeconds: env.MAX_PORTRAIT_SECONDS,
      allowLocalPaths: env.ALLOW_LOCAL_PATHS,
      downloadTimeoutMs: env.DOWNLOAD_TIMEOUT * SECOND,
    },
    webhook: {
      secrets: env.WEBHOOK_SECRET,
      timeoutMs: env.WEBHOOK_TIMEOUT * SECOND,
      retryDelaysMs:
        env.WEBHOOK_RETRY === "extended" ? [...WEBHOOK_SHORT_MS, ...WEBHOOK_EXTENDED_MS] : WEBHOOK_SHORT_MS,
      maxRetryAfterMs: 3600 * SECOND,
      statuses: env.WEBHOOK_STATUSES,
      receivers: { maxInFlight: 100, maxUnanswered: 5, pauseMs: 30 * SECOND },
    },
    resultRetentionDays: env.RESULT_RETENTION_DAYS,
    outputDir: env.OUTPUT_DIR,
    keepTempFiles: env.KEEP_TEMP_FILES,
    trustedOrigins: env.TRUSTED_ORIGINS,
    ffmpegPath: env.FFMPEG_PATH,
    ffprobePath: env.FFPROBE_PATH,
    logLevel: env.LOG_LEVEL,
    metrics: { host: env.METRICS_HOST, port: env.METRICS_PORT },
    simulator: {
      port: env.SIM_PORT,
      launchSeconds: env.SIM_LAUNCH_SECONDS,
      speed: env.SIM_SPEED,
      ratePerHour: env.SIM_RATE_PER_HOUR,
      comfyuiVersion: env.SIM_COMFYUI_VERSION,
    },
    embedded: {
      dataDir: env.C3_RENDER_DATA_DIR,
      temporalCliPath: env.TEMPORAL_CLI_PATH,
      temporalPort: env.TEMPORAL_PORT,
      temporalUiPort: env.TEMPORAL_UI_PORT,
    },
  };
}

function apiConfig(env: Environment): ApiConfig {
  const { C3_RENDER_API_KEY: key, C3_RENDER_KEYS: keys, OIDC_ISSUER: issuer } = env;
  const requiresKey = key !== undefined || keys.length > 0 || issuer !== undefined;
  const { TLS_CERT: cert, TLS_KEY: tlsKey } = env;
  return {
    host: env.HOST ?? (requiresKey ? "0.0.0.0" : "127.0.0.1"),
    port: env.PORT,
    key,
    keys,
    oidc: issuer === undefined ? undefined : { issuer, audience: env.OIDC_AUDIENCE, admin: env.OIDC_ADMIN },
    requiresKey,
    allowUnauthenticated: env.ALLOW_UNAUTHENTICATED,
    tls: cert !== undefined && tlsKey !== undefined ? { cert, key: tlsKey } : undefined,
    publicUrl: env.PUBLIC_URL,
    trustProxy: env.TRUST_PROXY,
    corsOrigins: env.CORS_ORIGINS,
    maxBodyBytes: env.MAX_BODY_BYTES,
    rateLimitPerMinute: env.RATE_LIMIT,
    rateLimitRedisUrl: env.RATE_LIMIT_REDIS_URL,
    maxQueued: env.MAX_QUEUED,
    maxQueuedPerTenant: env.MAX_QUEUED_PER_TENANT ?? env.MAX_QUEUED,
  };
}

function temporalTls(env: Environment): TemporalTls | undefined {
  const files = [env.TEMPORAL_TLS_CA, env.TEMPORAL_TLS_CERT, env.TEMPORAL_TLS_KEY, env.TEMPORAL_TLS_SERVER_NAME];
  if (env.TEMPORAL_TLS === false || (env.TEMPORAL_TLS === undefined && files.every((file) => file === undefined))) {
    return undefined;
  }
  return {
    serverName: env.TEMPORAL_TLS_SERVER_NAME,
    caFile: env.TEMPORAL_TLS_CA,
    certFile: env.TEMPORAL_TLS_CERT,
    keyFile: env.TEMPORAL_TLS_KEY,
  };
}

/** Nodes of one's own are all the instances that there are. */
function poolsOf(nodes: readonly OwnNode[]): Record<string, PoolConfig> {
  const pools: Record<string, PoolConfig> = {};
  for (const { type } of nodes) pools[type] = { max: (pools[type]?.max ?? 0) + 1 };
  return pools;
}

function modalConfig(env: Environment): ModalConfig | undefined {
  const { MODAL_TOKEN_ID: tokenId, MODAL_TOKEN_SECRET: tokenSecret } = env;
  if (tokenId === undefined || tokenSecret === undefined) return undefined;
  return {
    tokenId,
    tokenSecret,
    app: env.MODAL_APP,
    function: env.MODAL_FUNCTION,
    environment: env.MODAL_ENVIRONMENT,
    serverUrl: env.MODAL_SERVER_URL,
  };
}

function storageConfig(env: Environment): StorageConfig {
  const kind = env.STORAGE ?? (env.MINIO_ENDPOINT === undefined ? "filesystem" : "s3");
  if (kind === "filesystem") {
    return {
      kind,
      dir: env.STORAGE_DIR ?? `${env.C3_RENDER_DATA_DIR}/objects`,
      shared: env.STORAGE_SHARED,
      linkSecret: env.FILES_SECRET,
    };
  }
  const endpoint = env.MINIO_ENDPOINT;
  const schemed = endpoint === undefined || /^https?:\/\//.test(endpoint);
  return {
    kind,
    s3: {
      endpoint: schemed ? endpoint : `${env.MINIO_SECURE ? "https" : "http"}://${endpoint}`,
      publicUrl: env.MINIO_PUBLIC_URL,
      region: env.S3_REGION,
      accessKey: env.MINIO_ACCESS_KEY,
      secretKey: env.MINIO_SECRET_KEY,
      bucket: env.MINIO_BUCKET,
    },
  };
}
