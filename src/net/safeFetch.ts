import { isUtf8 } from "node:buffer";
import { isIP, type LookupFunction } from "node:net";
import { pipeline, Readable, Transform } from "node:stream";
import { CookieJar } from "tough-cookie";
import { Agent, buildConnector, type Dispatcher, fetch, type Headers, type RequestInit, type Response } from "undici";
import { createFairLimit } from "../lib/fairLimit.ts";
import { orAborted, timeLimit } from "../lib/timeLimit.ts";
import { urlOf } from "../lib/url.ts";
import { withoutQuery } from "../process/log.ts";
import { watchLoop } from "../process/loopTime.ts";
import { isPublicAddress } from "./addresses.ts";
import { createNameResolver, NameNotFound, type NameResolver } from "./resolver.ts";
import { readUserAgent } from "./userAgent.ts";

export interface GetOptions {
  maxBytes: number;
  /** From the request to the last byte; the first one must come within 15 s, and then at least a kilobyte a second. */
  timeoutMs: number;
  maxRedirects: number;
  /** Whose URL it is: nobody's names may keep those of others waiting. */
  tenant: string;
  signal?: AbortSignal;
}

export interface PostOptions {
  body: string;
  headers: Record<string, string>;
  timeoutMs: number;
  tenant: string;
  signal?: AbortSignal;
}

export interface PostAnswer {
  status: number;
  headers: Headers;
  /** Where a redirect leads that was not followed, without credentials and query string. */
  location?: string;
}

export interface Download {
  status: number;
  headers: Headers;
  body: Readable;
}

export interface SafeFetch {
  /**
   * Downloads, following redirects with the cookies that they set; the body, decoded if its server has encoded it, fails
   * with `TooLarge` past `maxBytes`, and when it breaks off.
   * @throws UnsafeUrl, TooLarge, or an error of the network
   */
  get(url: string, options: GetOptions): Promise<Download>;
  /**
   * Posts, and throws the answer's body away. A redirect that asks for the same request again (307, 308) is followed on the
   * same host, a few times: what is posted is meant for nobody else.
   * @throws UnsafeUrl, or an error of the network
   */
  post(url: string, options: PostOptions): Promise<PostAnswer>;
  close(): Promise<void>;
}

/** A URL that must not be followed. Its message is a sentence without credentials and query string. */
export class UnsafeUrl extends Error {
  override name = "UnsafeUrl";
}

/** A name leads nowhere, or to where nobody may go: which of the two is not for its caller, who would learn what is inside. */
export class NoPublicAddress extends Error {
  override name = "NoPublicAddress";
  constructor(host: string) {
    super(`${host} has no public address`);
  }
}

export class TooLarge extends Error {
  override name = "TooLarge";
  constructor(maxBytes: number) {
    super(`it is larger than ${maxBytes} bytes`);
  }
}

interface SafeFetchOptions {
  /** Origins that are exempt, exactly: for what is downloaded, and for what is posted. */
  trustedOrigins: { inputs: readonly string[]; webhooks: readonly string[] };
  /** Of the names of all other origins. */
  resolver?: NameResolver;
  pace?: Pace;
}

/** What a server must keep up. */
interface Pace {
  /** Until the first byte of the answer, redirects included. */
  firstByteMs: number;
  /** In every `windowMs`, as long as somebody reads. */
  windowMs: number;
  bytesPerWindow: number;
}

const PACE: Pace = { firstByteMs: 15_000, windowMs: 30_000, bytesPerWindow: 30 * 1024 };
/** Names of one tenant that are looked up at one time. */
const NAMES_PER_TENANT = 50;
const LOOKS = 30;
const CONNECT_TIMEOUT_MS = 10_000;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Of these the same request is meant for the other place (RFC 9110 §15.4); after others it would be a GET. */
const REPEATING_REDIRECTS = new Set([307, 308]);
const MAX_POST_REDIRECTS = 3;

/**
 * `fetch` for URLs that came from outside. Every address that is dialled must be public, checked when it is
 * dialled, after the name was looked up, so that a name cannot change between check and use; all answers of a
 * lookup must be. Each redirect is checked the same. No proxy is used, whatever the environment says.
 */
export function createSafeFetch(options: SafeFetchOptions): SafeFetch {
  const { trustedOrigins, resolver = createNameResolver(), pace = PACE } = options;
  const guarded = new Agent({ connect: guardedConnector(resolver) });
  const lookups = createFairLimit({ perKey: NAMES_PER_TENANT });
  const trusting = new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS } });
  const trustedInputs = new Set(trustedOrigins.inputs);
  const trustedWebhooks = new Set(trustedOrigins.webhooks);
  /** Some servers answer 403 to whoever does not say who asks. */
  const identity = { "user-agent": readUserAgent() };

  /** The way to one URL; a trusted origin's redirects elsewhere are guarded like any other. */
  function dispatcherFor(url: URL, isPost: boolean): Dispatcher {
    if (!isHttp(url)) {
      throw new UnsafeUrl(`${url.protocol}// is not http or https`);
    }
    return (isPost ? trustedWebhooks : trustedInputs).has(url.origin) ? trusting : guarded;
  }

  /** So that the connection finds the name looked up, or its tenant alone waits for it. */
  async function findName({ hostname }: URL, tenant: string, signal: AbortSignal): Promise<void> {
    if (isIP(hostname.replace(/^\[|\]$/g, "")) !== 0) return;
    await lookups.run([tenant], () => orAborted(resolver.resolve(hostname), signal), signal);
  }

  async function request(url: URL, init: RequestInit & { signal: AbortSignal }, tenant: string): Promise<Response> {
    const dispatcher = dispatcherFor(url, init.method === "POST");
    try {
      if (dispatcher === guarded) await findName(url, tenant, init.signal);
      const { credentials, target } = withoutCredentials(url);
      const headers = { ...identity, ...init?.headers, ...credentials };
      return await fetch(target, { ...init, headers, redirect: "manual", dispatcher });
    } catch (error) {
      const cause = unwrapped(error);
      throw cause instanceof NameNotFound ? new NoPublicAddress(url.hostname) : cause;
    }
  }

  return {
    async get(text, { maxBytes, timeoutMs, maxRedirects, tenant, signal }) {
      const first = watchLoop(pace.firstByteMs);
      const limit = timeLimit(timeoutMs, signal ? AbortSignal.any([signal, first.signal]) : first.signal);
      // Of this download alone; the jar gives each host, path and scheme what belongs to it.
      const cookies = new CookieJar(undefined, { looseMode: true });
      try {
        let url = parse(text);
        for (let redirects = 0; ; redirects += 1) {
          const cookie = await cookies.getCookieString(url.href);
          const headers = { "accept-encoding": "identity", ...(cookie !== "" && { cookie }) };
          const response = await request(url, { headers, signal: limit }, tenant);
          const location = response.headers.get("location");
          if (!REDIRECTS.has(response.status) || location === null) {
            const { status } = response;
            return { status, headers: response.headers, body: limited(response, maxBytes, pace) };
          }
          await response.body?.cancel();
          if (redirects >= maxRedirects)
            throw new UnsafeUrl(`${withoutQuery(text)} redirects more than ${maxRedirects} times`);
          for (const set of response.headers.getSetCookie()) {
            await cookies.setCookie(set, url.href, { ignoreError: true });
          }
          url = redirected(url, location);
        }
      } finally {
        first.end();
      }
    },

    async post(text, { body, headers, timeoutMs, tenant, signal }) {
      const limit = timeLimit(timeoutMs, signal);
      let url = parse(text);
      for (let redirects = 0; ; redirects += 1) {
        const response = await request(url, { method: "POST", body, headers, signal: limit }, tenant);
        await response.body?.cancel();
        const { status } = response;
        const location = REDIRECTS.has(status) ? response.headers.get("location") : null;
        if (location === null) return { status, headers: response.headers };
        const target = redirectedOrUndefined(url, location);
        const follows = target !== undefined && REPEATING_REDIRECTS.has(status) && isSameHost(url, target);
        if (!follows || redirects >= MAX_POST_REDIRECTS) {
          return { status, headers: response.headers, location: shown(target) };
        }
        url = target;
      }
    },

    async close() {
      await Promise.all([guarded.destroy(), trusting.destroy()]);
    },
  };
}

/** Checks what was looked up, and, because an address needs no lookup, what the socket is connected to. */
function guardedConnector(resolver: NameResolver): buildConnector.connector {
  const refuse = (host: string) => new UnsafeUrl(`${host} is not a public address`);
  const checkedLookup: LookupFunction = (hostname, options, callback) => {
    resolver.resolve(hostname).then(
      (found) => {
        const [first] = found;
        if (first === undefined || found.some(({ address }) => !isPublicAddress(address))) {
          callback(new NoPublicAddress(hostname), "", 0);
        } else if (options.all === true) callback(null, found);
        else callback(null, first.address, first.family);
      },
      (error: Error) => callback(error, "", 0),
    );
  };
  const connect = buildConnector({ timeout: CONNECT_TIMEOUT_MS, lookup: checkedLookup });
  return (options, callback) => {
    const host = options.hostname.replace(/^\[|\]$/g, "");
    if (isIP(host) !== 0 && !isPublicAddress(host)) return callback(refuse(host), null);
    connect(options, (error, socket) => {
      if (error !== null) return callback(error, null);
      if (!isPublicAddress(socket.remoteAddress ?? "")) {
        socket.destroy();
        return callback(refuse(host), null);
      }
      callback(null, socket);
    });
  };
}

function parse(text: string, base?: URL): URL {
  const url = urlOf(text, base);
  if (url === undefined) throw new UnsafeUrl("it is not a URL");
  return url;
}

/** Where a redirect leads. Credentials go on to the same origin only. */
function redirected(from: URL, location: string): URL {
  // Headers arrive as Latin-1; servers that do not escape what they write mean UTF-8.
  const bytes = Buffer.from(location, "latin1");
  const url = parse(isUtf8(bytes) ? bytes.toString() : location, from);
  if (url.origin === from.origin && url.username === "" && url.password === "") {
    url.username = from.username;
    url.password = from.password;
  }
  return url;
}

function shown(target: URL | undefined): string {
  return target !== undefined && isHttp(target) ? withoutQuery(target.href) : "(not an http(s) URL)";
}

function isHttp({ protocol }: URL): boolean {
  return protocol === "http:" || protocol === "https:";
}

function redirectedOrUndefined(from: URL, location: string): URL | undefined {
  try {
    return redirected(from, location);
  } catch (error) {
    if (error instanceof UnsafeUrl) return undefined;
    throw error;
  }
}

/** The same host by name and port; encrypted where it was. */
function isSameHost(from: URL, to: URL): boolean {
  return from.host === to.host && (from.protocol === to.protocol || to.protocol === "https:");
}

/** `fetch` refuses URLs with credentials; as a header they reach neither logs nor redirects. */
function withoutCredentials(url: URL): { target: URL; credentials: Record<string, string> } {
  if (url.username === "" && url.password === "") return { target: url, credentials: {} };
  const target = new URL(url);
  target.username = "";
  target.password = "";
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return { target, credentials: { authorization: `Basic ${Buffer.from(pair).toString("base64")}` } };
}

/**
 * The body, which fails beyond `maxBytes`, and when it comes too slowly. It may be left unread: the time limit then ends it
 * without noise.
 */
function limited(response: Response, maxBytes: number, { windowMs, bytesPerWindow }: Pace): Readable {
  if (response.body === null) return Readable.from([]);
  // Of an encoded body it says how long it is before it is decoded; what counts is what comes out.
  const isEncoded = !["", "identity"].includes(response.headers.get("content-encoding")?.trim() ?? "");
  const announced = isEncoded ? 0 : Number(response.headers.get("content-length") ?? 0);
  let bytes = 0;
  // Looks are counted, not seconds: where this process had no time to look, it had none to read.
  const seen: number[] = [];
  const look = () => {
    seen.push(bytes);
    if (seen.length <= LOOKS || counted.readableLength > 0) return;
    if (bytes - (seen.shift() ?? 0) < bytesPerWindow) {
      counted.destroy(new Error(`its server sent less than ${bytesPerWindow} bytes in ${windowMs / 1000} s`));
    }
  };
  const counted = new Transform({
    transform(chunk: Uint8Array, _, done) {
      bytes += chunk.length;
      if (bytes > maxBytes) done(new TooLarge(maxBytes));
      else done(null, chunk);
    },
  });
  const looking = setInterval(look, windowMs / LOOKS);
  looking.unref();
  pipeline(Readable.fromWeb(response.body), counted, () => {
    // Whoever reads learns of the failure from the stream itself.
    clearInterval(looking);
  });
  if (announced > maxBytes) counted.destroy(new TooLarge(maxBytes));
  return counted;
}

/** undici wraps what happened in a `TypeError: fetch failed`; it refuses the ports of mail servers and the like. */
function unwrapped(error: unknown): unknown {
  if (!(error instanceof TypeError && error.cause instanceof Error)) return error;
  return error.cause.message === "bad port" ? new UnsafeUrl("its port is not allowed") : error.cause;
}
