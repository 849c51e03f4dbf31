import { readFileSync } from "node:fs";
import type { z } from "zod";
import type { LipsyncContract, ModalOptions } from "../clients/modal.ts";
import { messageOf } from "../lib/text.ts";
import { type Environment, environmentSchema } from "./environment.ts";
import type { ApiConfig, Config, OwnNode, PoolConfig, StorageConfig, TemporalTls } from "./types.ts";

export type * from "./types.ts";

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
        problems.push(`${name}_FILE: cannot be read (${messageOf(error)})`);
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
      workerVersioning: env.WORKER_VERSIONING,
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
    trustedOrigins: {
      inputs: [...env.TRUSTED_ORIGINS, ...env.TRUSTED_INPUT_ORIGINS],
      webhooks: [...env.TRUSTED_ORIGINS, ...env.TRUSTED_WEBHOOK_ORIGINS],
    },
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
      gradioVersion: env.SIM_GRADIO_VERSION,
      modalContract: env.MODAL_CONTRACT,
    },
    embedded: {
      dataDir: env.C3_RENDER_DATA_DIR,
      stopTimeoutMs: env.STOP_TIMEOUT * SECOND,
      temporalCliPath: env.TEMPORAL_CLI_PATH,
      temporalPort: env.TEMPORAL_PORT,
      temporalUiPort: env.TEMPORAL_UI_PORT,
    },
  };
}

function apiConfig(env: Environment): ApiConfig {
  const { C3_RENDER_API_KEY: key, C3_RENDER_KEYS: keys, OIDC_ISSUER: issuer } = env;
  const requiresKey = key !== undefined || keys.length > 0 || issuer !== undefined;
  const names = new Set(keys.map(({ name }) => name));
  const severalTenants = issuer !== undefined || names.size + (key === undefined ? 0 : 1) > 1;
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
    shutdownDelayMs: env.SHUTDOWN_DELAY * SECOND,
    corsOrigins: env.CORS_ORIGINS,
    maxBodyBytes: env.MAX_BODY_BYTES,
    bodyTimeoutMs: env.BODY_TIMEOUT * SECOND,
    rateLimitPerMinute: env.RATE_LIMIT,
    authFailuresPerMinute: env.AUTH_FAILURES_PER_MINUTE,
    maxOpenRequests: env.MAX_OPEN_REQUESTS,
    rateLimitRedisUrl: env.RATE_LIMIT_REDIS_URL,
    maxQueued: env.MAX_QUEUED,
    maxQueuedPerTenant: env.MAX_QUEUED_PER_TENANT ?? (severalTenants ? Math.ceil(env.MAX_QUEUED / 5) : env.MAX_QUEUED),
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

/** What the functions of each contract are called where they were first deployed. */
const usualFunctions = {
  "c3-render": { app: "musetalk", function: "lip_sync" },
  "musetalk-poc": { app: "musetalk-poc", function: "run_inference" },
} satisfies Record<LipsyncContract, Pick<ModalOptions, "app" | "function">>;

function modalConfig(env: Environment): ModalOptions | undefined {
  const { MODAL_TOKEN_ID: tokenId, MODAL_TOKEN_SECRET: tokenSecret } = env;
  if (tokenId === undefined || tokenSecret === undefined) return undefined;
  const usual = usualFunctions[env.MODAL_CONTRACT];
  return {
    tokenId,
    tokenSecret,
    contract: env.MODAL_CONTRACT,
    app: env.MODAL_APP ?? usual.app,
    function: env.MODAL_FUNCTION ?? usual.function,
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
