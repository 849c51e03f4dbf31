import { call } from "./api.js";
import { createTable, make } from "./dom.js";
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
      { label: "Waiting", text: waiting },
      { label: "GPUs", text: instances },
      { label: "Per hour", kind: "minor", text: ({ rate }) => money(rate) },
      { label: "Limits", control: limits },
      { label: "Actions", control: pause },
    ],
    /** @param {Pool} pool */
    keyOf: ({ type }) => type,
    nothing: "There are no pools.",
  });

  /** @param {Pool} pool */
  function limits({ type }) {
    const [min, max] = [limitInput(`min of ${type}`), limitInput(`max of ${type}`)];
    const form = make("form", { className: "limits" }, make("label", {}, "min ", min), make("label", {}, "max ", max));
    form.append(make("button", { textContent: "Set" }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const change = { min: min.valueAsNumber, max: max.valueAsNumber };
      act(async () => {
        await call(poolPath(type), "PATCH", change);
        for (const input of [min, max]) input.defaultValue = input.value;
        return `${type} has ${change.min} to ${change.max} GPUs`;
      });
    });
    return {
      elements: [form],
      /** @param {Pool} pool */
      update({ limits }) {
        refill(min, limits.min);
        refill(max, limits.max);
      },
    };
  }

  /** @param {Pool} pool */
  function pause({ type }) {
    let paused = false;
    const button = make("button", { type: "button" });
    button.addEventListener("click", () => {
      act(async () => {
        const changed = await call(poolPath(type), "PATCH", { paused: !paused });
        return changed.paused ? `${type} launches and lends no GPU` : `${type} works again`;
      });
    });
    return {
      elements: [button],
      /** @param {Pool} pool */
      update(pool) {
        paused = pool.paused;
        button.textContent = paused ? "Resume" : "Pause";
        button.setAttribute("aria-label", `${button.textContent} ${type}`);
      },
    };
  }

  return {
    async load() {
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
  const [first] = queue;
  if (first === undefined) return "0";
  const eta = first.eta_seconds === undefined ? "" : `, next in ${duration(first.eta_seconds)}`;
  return `${queue.length} (${plain(first.waiting_for)}${eta})`;
}

/** @param {Pool} pool */
function instances({ gpus }) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { state } of gpus) counts.set(state, (counts.get(state) ?? 0) + 1);
  const states = [...counts].map(([state, count]) => `${count} ${state}`);
  return states.length === 0 ? "0" : states.join(", ");
}
