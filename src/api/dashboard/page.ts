import { html } from "hono/html";
import type { Config } from "../../config/index.ts";
import { jobTypes } from "../../jobs/job.ts";
import { jobStates } from "../../jobs/states.ts";

/**
 * The page without data; `main.js` fills it. The links are relative: it is served under each base path, and perhaps
 * under another one by a proxy.
 */
export function dashboardPage({ uiOrigin, namespace }: Pick<Config["temporal"], "uiOrigin" | "namespace">) {
  const workflows = uiOrigin === undefined ? "" : `${uiOrigin}/namespaces/${encodeURIComponent(namespace)}/workflows/`;
  const options = (values: readonly string[]) =>
    html`<option value="">all</option>${values.map((value) => html`<option>${value}</option>`)}`;
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>c3-render dashboard</title>
    <link rel="icon" href="data:," />
    <link rel="stylesheet" href="dashboard/dashboard.css" />
    <script type="module" src="dashboard/main.js"></script>
  </head>
  <body data-workflows="${workflows}">
    <header>
      <h1>c3-render</h1>
      <span id="updated">Loading …</span>
      <a href="docs">API documentation</a>
      <button type="button" id="forget" hidden>Forget the key</button>
    </header>
    <p id="trouble" role="alert"></p>
    <p id="message" role="status"></p>
    <noscript><p>This page needs JavaScript.</p></noscript>
    <form id="key-form" hidden>
      <label>API key <input id="key" type="password" autocomplete="off" pattern="[!-~]+" title="without spaces" required /></label>
      <button>Show</button>
    </form>
    <main id="data" hidden>
      <h2 id="pools-title">Pools</h2>
      <div id="pools"></div>
      <h2 id="gpus-title">GPUs</h2>
      <div id="gpus"></div>
      <p id="stopped"></p>
      <h2 id="jobs-title">Jobs</h2>
      <form id="filters">
        <label>Status <select name="status">${options(jobStates)}</select></label>
        <label>Type <select name="type">${options(jobTypes)}</select></label>
      </form>
      <div id="jobs"></div>
      <p>
        <button type="button" id="newest" disabled>Newest</button>
        <button type="button" id="older" disabled>Older</button>
      </p>
    </main>
    <dialog id="job" aria-labelledby="job-title">
      <header>
        <h2 id="job-title" tabindex="-1" autofocus></h2>
        <button type="button" id="close">Close</button>
      </header>
      <p id="job-trouble" role="alert"></p>
      <p id="job-message" role="status"></p>
      <dl id="facts"></dl>
      <p>
        <button type="button" id="cancel" hidden>Cancel the job</button>
        <button type="button" id="redeliver" hidden>Send the webhook again</button>
      </p>
      <h3 id="timeline-title">Timeline</h3>
      <div id="timeline"></div>
      <h3 id="deliveries-title">Webhook</h3>
      <p id="receiver"></p>
      <div id="deliveries"></div>
    </dialog>
  </body>
</html>`;
}
