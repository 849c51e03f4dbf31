import { call, order } from "./api.js";
import { byId, createTable, jobColumn, make, setText } from "./dom.js";
import { between, duration, money, NONE, time } from "./format.js";

/** @typedef {import("zod").output<typeof import("../openapi/schemas/gpus.ts").gpusSchema>} Gpus */

/** More seldom than the rest, because the API reads the whole day's bill for it. */
const INTERVAL_MS = 15_000;

/**
 * The instances, and what was stopped.
 * @param {import("./main.js").Act} act
 */
export function createGpus(act) {
  let due = 0;
  const table = createTable("gpus", {
    columns: [
      { label: "GPU", text: ({ id }) => id },
      { label: "State", kind: "state", text: ({ state }) => state },
      jobColumn("Job", ({ job }) => job),
      { label: "Age", text: ({ started_at }) => between(started_at) },
      { label: "Busy", kind: "minor", text: ({ seconds }) => duration(seconds?.busy) },
      { label: "Jobs", kind: "minor", text: ({ jobs }) => String(jobs) },
      { label: "Cost", text: ({ cost }) => money(cost) },
      { label: "Node", kind: "minor", text: ({ node }) => node ?? NONE },
      { label: "Ends", kind: "minor", text: ({ expires_at }) => time(expires_at) },
      { label: "Remark", kind: "long", text: ({ reason, kept }) => reason ?? (kept ? "kept warm" : "") },
      { label: "Actions", control: drain },
    ],
    /** @param {Gpus["gpus"][number]} gpu */
    keyOf: ({ id }) => id,
    nothing: "No instance is running.",
  });

  /** @param {Gpus["gpus"][number]} gpu */
  function drain({ id }) {
    const button = make("button", { type: "button", textContent: "Drain" });
    button.setAttribute("aria-label", `Drain ${id}`);
    button.addEventListener("click", () => {
      if (!confirm(`Let ${id} finish its job, and stop it then?`)) return;
      act(async () => {
        const message = await order(`gpus/${encodeURIComponent(id)}/drain`);
        due = 0;
        return message;
      });
    });
    return {
      elements: [button],
      /** @param {Gpus["gpus"][number]} gpu */
      update({ state }) {
        button.hidden = ["draining", "stopping", "stopped", "lost"].includes(state);
      },
    };
  }

  return {
    async load() {
      if (Date.now() < due) return;
      /** @type {Gpus} */
      const { gpus, last_24_hours: day } = await call("gpus");
      due = Date.now() + INTERVAL_MS;
      table.show(gpus);
      const place = byId("stopped", HTMLParagraphElement);
      if (day === null) return setText(place, "What was stopped within the last 24 hours is not known.");
      const cost = day.cost === undefined ? "" : `, cost ${money(day.cost)}`;
      const sum = `${day.instances} instances, ${day.jobs} jobs, ${duration(day.seconds.paid)} paid${cost}`;
      const stopped = `Stopped within the last 24 hours: ${sum}.`;
      setText(place, stopped);
    },
    refuse: table.refuse,
  };
}
