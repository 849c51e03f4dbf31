import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { getRequestListener, RequestError } from "@hono/node-server";
import type { Hono } from "hono";
import { type ApiConfig, ConfigError } from "../config/index.ts";
import type { Logger } from "../process/log.ts";
import type { ApiEnv } from "./context.ts";

export interface RunningServer {
  /** The origin to reach it at from this machine. */
  url: string;
  /** Takes no more requests and lets those under way finish, for at most `graceMs`. */
  close(graceMs: number): Promise<void>;
}

const SWEEP_EVERY_MS = 50;
/**
 * Longer than clients and balancers keep a connection that nothing is sent on (60 s at AWS): whoever closes first may close
 * it just as the other one sends, and that request is lost.
 */
const KEEP_ALIVE_MS = 75_000;
const MAX_HEADER_BYTES = 16 * 1024;
/** Bodies have a limit of their own, whose answer says so; Node's ends those that nobody reads any more. */
const GRACE_MS = 30_000;

/** What a client must keep up. */
interface Pace {
  /** Until the last header of a request, which is a packet or two. */
  headersMs: number;
  /**
   * Without a byte in either direction, also because the client does not take its answer: streams have a comment every
   * 15 s, and a wait for a job takes a minute at most.
   */
  silentMs: number;
  /** Between two looks at what is too slow. */
  lookMs: number;
}

const PACE: Pace = { headersMs: 20_000, silentMs: 120_000, lookMs: 5000 };

/**
 * Listens for requests to `app`; port 0 takes a free one.
 * @throws ConfigError rather than opening an API without a key to the network
 */
export async function listen(
  app: Hono<ApiEnv>,
  api: ApiConfig,
  log: Logger,
  { headersMs, silentMs, lookMs }: Pace = PACE,
): Promise<RunningServer> {
  const { host, port, tls, bodyTimeoutMs } = api;
  if (!api.requiresKey && !api.allowUnauthenticated && !isLoopback(host)) {
    const problem = `HOST: ${host} can be reached from outside, which needs C3_RENDER_API_KEY, C3_RENDER_KEYS or OIDC_ISSUER (or ALLOW_UNAUTHENTICATED=true)`;
    throw new ConfigError([problem]);
  }
  const errorHandler = (error: unknown) => requestErrorResponse(error, log);
  const options = { errorHandler, overrideGlobalObjects: false, hostname: host };
  const listener = getRequestListener(app.fetch, options);
  const limits = {
    headersTimeout: headersMs,
    requestTimeout: headersMs + bodyTimeoutMs + GRACE_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: lookMs,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  const server =
    tls === undefined
      ? createHttpServer(limits, listener)
      : createHttpsServer({ ...tls, ...limits, handshakeTimeout: headersMs }, listener);
  server.timeout = silentMs;
  server.listen(port, host);
  await once(server, "listening");
  const url = urlOf(tls === undefined ? "http" : "https", server.address(), host);
  // HTTP/1.0 has no `Host`: balancers ask for `/healthz` like that.
  options.hostname = new URL(url).host;
  log.info({ url }, "the API is listening");
  return {
    url,
    async close(graceMs) {
      const closed = once(server, "close");
      server.close();
      // A connection whose last answer was given would be kept open for the next request.
      const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_EVERY_MS);
      const force = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(force);
    },
  };
}

/** Requests that are no HTTP that the app could be asked for, such as a `Host` that is none. */
function requestErrorResponse(error: unknown, log: Logger): Response {
  const requestId = randomUUID();
  const ours = !(error instanceof RequestError);
  if (ours) log.error({ err: error, requestId }, "Internal server error");
  const body = ours
    ? { error: "Internal server error", code: "internal_error", request_id: requestId }
    : { error: "The request is not valid HTTP", code: "bad_request", request_id: requestId };
  return Response.json(body, { status: ours ? 500 : 400 });
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function urlOf(scheme: string, address: AddressInfo | string | null, host: string): string {
  if (address === null || typeof address === "string") throw new Error(`not listening on a port: ${address}`);
  const everywhere = host === "0.0.0.0" || host === "::";
  const name = everywhere ? "127.0.0.1" : host;
  return `${scheme}://${name.includes(":") ? `[${name}]` : name}:${address.port}`;
}
