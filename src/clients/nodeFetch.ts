import { Agent, fetch, type RequestInit, type Response } from "undici";

/**
 * A model may think for minutes before its server sends a header: Ollama sends none before the first token. undici
 * gives up after 300 s by default; a call to a node is bounded by its job's deadline alone, which is its signal.
 */
const patient = new Agent({ connect: { timeout: 10_000 }, headersTimeout: 0, bodyTimeout: 0 });

/**
 * `fetch` for the servers of a node: with its key, never to another host, never compressed, and with no time limit
 * but `signal`. A body that is a form must be undici's own `FormData`.
 * @throws an error of the network, unwrapped
 */
export async function nodeFetch(url: string, apiKey: string, init: RequestInit = {}): Promise<Response> {
  const headers = { ...init.headers, "X-C3-API-KEY": apiKey, "Accept-Encoding": "identity" };
  return await fetch(url, { ...init, headers, redirect: "error", dispatcher: patient });
}

/** The bytes that a body has according to its server; null when it does not say, or says it of the compressed ones. */
export function announcedLength(headers: { get(name: string): string | null }): string | null {
  const encoding = headers.get("content-encoding") ?? "identity";
  return encoding.toLowerCase() === "identity" ? headers.get("content-length") : null;
}
