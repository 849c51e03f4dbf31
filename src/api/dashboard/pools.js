import { call } from "./api.js";
import { createTable, make, setText } from "./dom.js";
import { duration, money, plain } from "./format.js";

/** @typedef {import("zod").output<typeof import("../openapi/schemas/gpus.ts").poolSchema>} Pool */

/**
 * The pools, and how many instances they may have.
 * @param {import("./main.js").Act} act
 */
export function createPools(act) {
  const table = createTable("pools", {
    columns: [
      { label: "Type", text: ({ type }) => type },
      { label: "State", kind: "state", text: ({ paused }) => (paused ? "paused" : "open") },
      {
        label: "Provider",
        kind: "long",
        text: ({ provider }) => (provider ? `${plain(provider.state)}: ${provider.reason}` : ""),
      },
      { label: "Waiting", text: waiting },
      { label: "GPUs", text: instances },
      { label: "Per hour", kind: "minor", text: ({ rate }) => money(rate) },
      { label: "Change", control: change },
    ],
    /** @param {Pool} pool */
    keyOf: ({ type }) => type,
    nothing: "There are no pools.",
  });

  /** @param {Pool} pool */
  function change({ type }) {
    let paused = false;
    const [min, max] = [limitInput(`min of ${type}`), limitInput(`max of ${type}`)];
    const set = make("button", { textContent: "Set" });
    const pause = make("button", { type: "button" });
    const form = make("form", {}, make("label", {}, "min ", min), make("label", {}, "max ", max), set, pause);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const limits = { min: min.valueAsNumber, max: max.valueAsNumber };
      act(async () => {
        await call(poolPath(type), "PATCH", limits);
        for (const input of [min, max]) input.defaultValue = input.value;
        return `${type} has ${limits.min} to ${limits.max} GPUs`;
      });
    });
    pause.addEventListener("click", () => {
      act(async () => {
        /** @type {Pool} */
        const changed = await call(poolPath(type), "PATCH", { paused: !paused });
        return changed.paused ? `${type} launches and lends no GPU` : `${type} works again`;
      });
    });
    return {
      elements: [form],
      /** @param {Pool} pool */
      update(pool) {
        refill(min, pool.limits.min);
        refill(max, pool.limits.max);
        paused = pool.paused;
        setText(pause, paused ? "Resume" : "Pause");
        pause.setAttribute("aria-label", `${pause.textContent} ${type}`);
      },
    };
  }

  return {
    async load() {
      /** @type {{ pools: Pool[] }} */
      const { pools } = await call("pools");
      table.show(pools);
    },
    refuse: table.refuse,
  };
}

/** @param {string} type */
const poolPath = (type) => `pools/${encodeURIComponent(type)}`;

/** @param {string} label */
function limitInput(label) {
  const input = make("input", { type: "number", min: "0", max: "1000", step: "1", required: true });
  input.setAttribute("aria-label", label);
  return input;
}

/**
 * Unless somebody has typed something else.
 * @param {HTMLInputElement} input
 * @param {number} limit
 */
function refill(input, limit) {
  const untouched = input.value === input.defaultValue;
  input.defaultValue = String(limit);
  if (untouched) input.value = input.defaultValue;
}

/** @param {Pool} pool */
function waiting({ queue }) {
  if (queue === null) return "not known";
  const [first] = queue;
  if (first === undefined) return "0";
  const eta = first.eta_seconds === undefined ? "" : `, next in ${duration(first.eta_seconds)}`;
  return `${queue.length} (${plain(first.waiting_for)}${eta})`;
}

/** @param {Pool} pool */
function instances({ gpus }) {
  if (gpus === null) return "not known";
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { state } of gpus) counts.set(state, (counts.get(state) ?? 0) + 1);
  const states = [...counts].map(([state, count]) => `${count} ${state}`);
  return states.length === 0 ? "0" : states.join(", ");
}
