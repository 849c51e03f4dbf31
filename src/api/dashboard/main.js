import { call, forgetKey, keepKey, Refusal, readKey } from "./api.js";
import { byId, setText } from "./dom.js";
import { sentence, time } from "./format.js";
import { createGpus } from "./gpus.js";
import { createJob } from "./job.js";
import { createJobs } from "./jobs.js";
import { createPools } from "./pools.js";

/** Does what a button asks for and says what came of it. @typedef {(work: () => Promise<string>) => void} Act */

const REFRESH_MS = 5000;

const job = createJob(act, refresh);
const jobs = createJobs(refresh);
/** Those that only an administrator may see. */
const guarded = [createPools(act), createGpus(act)].map(createGuarded);

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
let busy = false;
let wantedAgain = false;
/** @type {number | undefined} */
let updatedAt;
/** What is to be known though nothing went wrong here. @type {string[]} */
let notices = [];

/** Shows how everything is now, and again in a few seconds if somebody looks. */
async function refresh() {
  wantedAgain = busy;
  if (busy) return;
  busy = true;
  clearTimeout(timer);
  const pauseMs = await load();
  busy = false;
  if (wantedAgain) return refresh();
  if (pauseMs !== undefined && !document.hidden) timer = setTimeout(refresh, pauseMs);
}

/** @returns {Promise<number | undefined>} milliseconds until the next time; undefined when a key is needed first */
async function load() {
  const [ready, ...data] = await Promise.allSettled([
    loadReadiness(),
    ...[jobs, job, ...guarded].map((part) => part.load()),
  ]);
  const troubles = data.flatMap(troublesOf);
  const locked = troubles.find(({ status }) => status === 401);
  if (locked !== undefined) {
    askForKey(locked);
    return undefined;
  }
  if (troubles.length === 0) updatedAt = Date.now();
  const retryAfterSeconds = Math.max(0, ...troubles.map((trouble) => trouble.retryAfterSeconds));
  showHealth([...notices, ...[...troublesOf(ready), ...troubles].map(({ message }) => message)], troubles.length > 0);
  byId("data", HTMLElement).hidden = false;
  byId("forget", HTMLButtonElement).hidden = readKey() === null;
  return Math.max(REFRESH_MS, retryAfterSeconds * 1000);
}

/** Also of a service that is ready: without a provider jobs only wait. */
async function loadReadiness() {
  notices = [];
  /** @type {import("zod").output<typeof import("../openapi/schemas/service.ts").readySchema>} */
  const { provider } = await call("readyz");
  if (provider !== undefined) notices = [sentence(provider.message)];
}

/**
 * @param {PromiseSettledResult<unknown>} result
 * @returns {Refusal[]}
 */
function troublesOf(result) {
  if (result.status === "fulfilled") return [];
  if (result.reason instanceof Refusal) return [result.reason];
  console.error(result.reason);
  return [new Refusal(`The page does not understand an answer: ${result.reason}`)];
}

/**
 * @param {string[]} sentences
 * @param {boolean} stale what is shown is not how it is now
 */
function showHealth(sentences, stale) {
  const at =
    updatedAt === undefined ? "Nothing was read yet" : `${stale ? "Not updated since" : "Updated"} ${time(updatedAt)}`;
  setText(byId("updated", HTMLSpanElement), at);
  const trouble = [...new Set(sentences)].map((sentence) => `${sentence}.`).join(" ");
  // What is open before everything else is all that a screen reader reads.
  for (const id of ["trouble", "job-trouble"]) setText(byId(id, HTMLParagraphElement), trouble);
  byId("data", HTMLElement).classList.toggle("stale", stale);
}

/** @param {Refusal} refusal */
function askForKey({ message }) {
  const hadKey = readKey() !== null;
  forgetKey();
  job.close();
  byId("data", HTMLElement).hidden = true;
  byId("forget", HTMLButtonElement).hidden = true;
  byId("key-form", HTMLFormElement).hidden = false;
  setText(byId("updated", HTMLSpanElement), "");
  setText(byId("trouble", HTMLParagraphElement), hadKey ? `${message}.` : "");
  byId("key", HTMLInputElement).focus();
}

/**
 * @param {{ load: () => Promise<void>, refuse: (sentence: string) => void }} section
 */
function createGuarded({ load, refuse }) {
  let refused = false;
  return {
    async load() {
      if (refused) return;
      try {
        await load();
      } catch (error) {
        if (!(error instanceof Refusal) || error.status !== 403) throw error;
        refused = true;
        refuse(`${error.message}.`);
      }
    },
  };
}

/** @type {Act} */
async function act(work) {
  const say = (/** @type {string} */ text) => {
    const place = byId("job", HTMLDialogElement).open ? "job-message" : "message";
    byId(place, HTMLParagraphElement).textContent = `${text}.`;
  };
  try {
    say(await work());
  } catch (error) {
    say(error instanceof Refusal ? error.message : String(error));
  }
  await refresh();
}

// With another key everything is asked for anew.
byId("key-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(byId("key", HTMLInputElement).value);
  location.reload();
});
byId("forget", HTMLButtonElement).addEventListener("click", () => {
  forgetKey();
  location.reload();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else void refresh();
});
void refresh();
