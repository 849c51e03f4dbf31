/** The API is one folder above this file, wherever a proxy has put it. */
const base = new URL("../", import.meta.url);
const STORED_KEY = "c3-render-key";
/** The API itself gives up on Temporal after ten seconds. */
const TIMEOUT_MS = 15_000;

/** Why there is no answer to show: a sentence for people. */
export class Refusal extends Error {
  /**
   * @param {string} message
   * @param {number} status of HTTP; 0 when nothing answered
   * @param {number} retryAfterSeconds
   */
  constructor(message, status = 0, retryAfterSeconds = 0) {
    super(message);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export const readKey = () => sessionStorage.getItem(STORED_KEY);
/** @param {string} key */
export const keepKey = (key) => sessionStorage.setItem(STORED_KEY, key);
export const forgetKey = () => sessionStorage.removeItem(STORED_KEY);

/**
 * @template Answer
 * @param {string} path without a leading slash
 * @param {string} [method]
 * @param {unknown} [body] sent as JSON
 * @returns {Promise<Answer>} the answer's JSON, as the API's document describes it
 * @throws {Refusal}
 */
export async function call(path, method = "GET", body = undefined) {
  const headers = new Headers(body === undefined ? {} : { "Content-Type": "application/json" });
  const key = readKey();
  if (key !== null) headers.set("X-C3-RENDER-KEY", key);
  // A token of the operator's issuer (a JWT) is only taken like this; a key, too.
  if (key?.split(".").length === 3) headers.set("Authorization", `Bearer ${key}`);
  const { response, text } = await request(path, { method, headers, body: JSON.stringify(body) ?? null });
  /** @type {(Answer & { error?: unknown }) | undefined} */
  const answer = parsed(text);
  if (response.ok && answer !== undefined) return answer;
  const message =
    typeof answer?.error === "string" ? answer.error : `The answer was not the API's (${response.status})`;
  throw new Refusal(message, response.status, Number(response.headers.get("Retry-After")) || 0);
}

/**
 * Asks for something to be done.
 * @param {string} path without a leading slash
 * @param {unknown} [body] sent as JSON
 * @returns {Promise<string>} what came of it, in a sentence
 * @throws {Refusal}
 */
export async function order(path, body) {
  /** @type {{ message: string }} */
  const { message } = await call(path, "POST", body);
  return message;
}

/**
 * @param {string} path
 * @param {RequestInit} init
 */
async function request(path, init) {
  try {
    const response = await fetch(new URL(path, base), { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
    return { response, text: await response.text() };
  } catch (error) {
    console.warn(path, error);
    throw new Refusal("The API cannot be reached");
  }
}

/**
 * @template Answer
 * @param {string} text
 * @returns {(Answer & { error?: unknown }) | undefined} undefined when it is no JSON
 */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
