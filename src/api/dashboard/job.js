import { call, order, Refusal } from "./api.js";
import { byId, createTable, link, make, setText } from "./dom.js";
import { between, duration, money, NONE, percent, plain, time } from "./format.js";

/** @typedef {import("zod").output<typeof import("../openapi/schemas/jobs.ts").jobSchema>} Job */
/** @typedef {import("zod").output<typeof import("../openapi/schemas/deliveries.ts").deliveriesSchema>} Deliveries */

/**
 * Everything about the job that the address names behind its `#`.
 * @param {import("./main.js").Act} act
 * @param {() => void} refresh
 */
export function createJob(act, refresh) {
  const dialog = byId("job", HTMLDialogElement);
  const cancel = byId("cancel", HTMLButtonElement);
  const again = byId("redeliver", HTMLButtonElement);
  const facts = byId("facts", HTMLDListElement);
  let shown = "";

  const timeline = createTable("timeline", {
    columns: [
      { label: "Time", text: ({ at }) => time(at) },
      { label: "Event", text: ({ event }) => plain(event) },
      { label: "State", kind: "state", text: ({ status }) => status },
      { label: "Stage", text: ({ stage }) => stage ?? "" },
    ],
    /** @param {Job["timeline"][number]} entry */
    keyOf: ({ id }) => String(id),
    nothing: "Nothing is known.",
  });
  const deliveries = createTable("deliveries", {
    columns: [
      { label: "Time", text: (attempt) => time(attempt.time) },
      { label: "Delivered", text: ({ delivered }) => (delivered ? "yes" : "no") },
      { label: "Answer", text: ({ code, error }) => error ?? String(code ?? NONE) },
      { label: "Took", text: ({ ms }) => `${Math.round(ms)} ms` },
    ],
    /** @param {Deliveries["deliveries"][number]} attempt */
    keyOf: (attempt) => attempt.time,
    nothing: "No attempt yet, or no webhook.",
  });

  byId("close", HTMLButtonElement).addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    if (selectedId() !== undefined) history.replaceState(null, "", location.pathname + location.search);
  });
  addEventListener("hashchange", () => {
    if (selectedId() === undefined) dialog.close();
    else refresh();
  });
  cancel.addEventListener("click", () => {
    const id = selectedId();
    if (id === undefined || !confirm(`Cancel the job ${id}?`)) return;
    act(() => order(`job/${id}`, { status: "cancelled" }));
  });
  again.addEventListener("click", () => {
    const id = selectedId();
    if (id !== undefined) act(() => order(`jobs/${id}/deliveries`));
  });

  /**
   * @param {string} id
   * @param {Job | undefined} job undefined when there is no such job
   * @param {Deliveries} [webhook]
   */
  function show(id, job, webhook) {
    // Its links are new ones each time, and must not be replaced under the pointer.
    const content = JSON.stringify(job, (key, value) => (/(^|_)url$/.test(key) ? undefined : value)) ?? "";
    if (content !== shown) facts.replaceChildren(...(job ? factsOf(id, job) : []));
    shown = content;
    timeline.show(job?.timeline ?? []);
    deliveries.show(webhook?.deliveries ?? []);
    setText(byId("receiver", HTMLParagraphElement), webhook?.url ?? "");
    cancel.hidden = job === undefined || job.finished_at !== undefined;
    again.hidden = job?.finished_at === undefined || webhook?.url === undefined;
  }

  /** @param {string} id */
  function open(id) {
    const title = byId("job-title", HTMLHeadingElement);
    if (dialog.open && title.textContent === `Job ${id}`) return;
    setText(title, `Job ${id}`);
    setText(byId("job-message", HTMLParagraphElement), "");
    if (!dialog.open) dialog.showModal();
  }

  return {
    async load() {
      const id = selectedId();
      if (id === undefined) return;
      try {
        /** @type {[Job, Deliveries]} */
        const [job, webhook] = await Promise.all([call(`jobs/${id}`), call(`jobs/${id}/deliveries`)]);
        if (selectedId() !== id) return;
        open(id);
        show(id, job, webhook);
      } catch (error) {
        if (!(error instanceof Refusal) || error.status !== 404) throw error;
        open(id);
        show(id, undefined);
        setText(byId("job-message", HTMLParagraphElement), `${error.message}.`);
      }
    },
    close: () => dialog.close(),
  };
}

function selectedId() {
  return /^#([0-9a-f-]{36})$/.exec(location.hash)?.[1];
}

/**
 * @param {string} id
 * @param {Job} job
 */
function factsOf(id, job) {
  const { gpu, cost, result } = job;
  /** @type {[name: string, value: Node | string | undefined][]} */
  const known = [
    ["State", stateOf(job)],
    ["Error", job.error],
    ["Why it waits", job.waiting_reason],
    ["Type", job.type],
    ["Tenant", job.tenant],
    ["Created", time(job.created_at)],
    ["Started", time(job.started_at)],
    ["Finished", time(job.finished_at)],
    ["Duration", between(job.created_at, job.finished_at)],
    ["To be done by", time(job.complete_by)],
    ["Time on GPUs", `at most ${duration(job.max_time)}`],
    ["GPUs used", String(job.attempts)],
    ["GPU", gpu && `${gpu.id} on ${gpu.node}`],
    ["Cost", cost && costOf(cost)],
    ["Workflow", workflowOf(id)],
    ["Result", result?.text ?? (result?.result_url && link(result.result_url, "open"))],
    ...job.files.map(({ name, url, bytes }) => /** @type {[string, Node]} */ (["File", fileOf(name, url, bytes)])),
    ["Metadata", job.metadata && make("pre", { textContent: JSON.stringify(job.metadata, null, 2) })],
  ];
  return known.flatMap(([name, value]) =>
    value === undefined ? [] : [make("dt", { textContent: name }), make("dd", {}, value)],
  );
}

/** @param {Job} job */
function stateOf(job) {
  const state = job.state ?? job.status;
  const { stage, progress, position, eta_seconds: eta, waiting_for: reason } = job;
  const parts = [
    plain(state),
    stage,
    typeof progress === "number" ? percent(progress) : undefined,
    reason && `for ${plain(reason)}`,
    position && `position ${position}`,
    eta === undefined ? undefined : `starts in ${duration(eta)}`,
  ];
  return parts.filter((part) => part !== undefined).join(", ");
}

/** @param {NonNullable<Job["cost"]>} cost */
function costOf({ amount, gpu_seconds: seconds }) {
  const time = `${duration(seconds.total)} of a GPU`;
  return amount === undefined ? time : `${money(amount)} for ${time}`;
}

/** @param {string} id */
function workflowOf(id) {
  const workflowId = `job-${id}`;
  const workflows = document.body.dataset.workflows;
  return workflows ? link(workflows + workflowId, workflowId) : workflowId;
}

/**
 * @param {string} name
 * @param {string} url
 * @param {number} bytes
 */
function fileOf(name, url, bytes) {
  return make("span", {}, link(url, name), ` ${Math.ceil(bytes / 1024)} KiB`);
}
