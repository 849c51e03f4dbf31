import type { LipsyncContract, ModalOptions } from "../clients/modal.ts";
import type { ApiKey } from "./apiKeys.ts";
import type { PayloadKey } from "./payloadKeys.ts";

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
  modal: ModalOptions | undefined;
  storage: StorageConfig;
  inputs: InputsConfig;
  webhook: WebhookConfig;
  /** After so many days what jobs left in the object store is removed. */
  resultRetentionDays: number;
  /** Temporary files, one folder per job and attempt. */
  outputDir: string;
  keepTempFiles: boolean;
  /** Origins that are let through although their address is not public. */
  trustedOrigins: { inputs: string[]; webhooks: string[] };
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
  /** How long `npm run api` goes on answering after it has said that it is not ready any more. */
  shutdownDelayMs: number;
  corsOrigins: string[];
  maxBodyBytes: number;
  /** For the whole of a request's body. */
  bodyTimeoutMs: number;
  /** Submissions per key; everything else has ten times that. */
  rateLimitPerMinute: number;
  /** Wrong keys and tokens per address. */
  authFailuresPerMinute: number;
  /** Of one tenant, in one process: streams, waits, and requests whose body is still to come. */
  maxOpenRequests: number;
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
  /** Workers announce their version, and jobs stay with the one that they began on. */
  workerVersioning: boolean;
  /** Where the Web UI is that may have payloads decrypted by the API, and that the dashboard links to. */
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
  gradioVersion: "4.44" | "5.50" | "6.31";
  modalContract: LipsyncContract;
}

/** The stack that `npm start` and `npm run demo` bring up. */
export interface EmbeddedConfig {
  /** The database of the Temporal server; objects are in `storage`. */
  dataDir: string;
  /** How long instances are waited for that are to be gone before everything else stops. */
  stopTimeoutMs: number;
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
