import {
  forAdmins,
  forBodies,
  forChanges,
  forStores,
  forTemporal,
  type Operation,
  type Parameter,
  type Refusals,
} from "../operation.ts";

const poolParameter: Parameter = {
  component: "PoolType",
  name: "type",
  in: "path",
  description: "The type of its instances",
  schema: { type: "string" },
  example: "media:fast",
};
const pool = { type: "media:fast", limits: { min: 0, max: 4 }, paused: false, rate: 0.5, queue: [], gpus: [] };
const forPools: Refusals = { 404: { pool_not_found: "There is no such pool" } };

export const gpuOperations: Operation[] = [
  {
    method: "get",
    path: "/gpus",
    operationId: "listGpus",
    tag: "Operations",
    summary: "The instances: what they do, and what they cost",
    answers: { 200: { description: "All of them", schema: "Gpus" } },
    refusals: [forAdmins, forTemporal],
  },
  {
    method: "post",
    path: "/gpus/{id}/drain",
    operationId: "drainGpu",
    tag: "Operations",
    summary: "Let an instance finish its job, then stop it",
    parameters: [
      {
        name: "id",
        in: "path",
        description: "As `/gpus` has it",
        schema: { type: "string" },
        example: "gpu-media:fast-1795254481",
      },
    ],
    body: {
      schema: "Drain",
      optional: true,
      examples: { "after its job": {}, "at once": { now: true, reason: "it is slow" } },
    },
    answers: { 200: { description: "It has been told", schema: "Drained" } },
    refusals: [
      forAdmins,
      forTemporal,
      forBodies,
      forChanges,
      { 400: { invalid_gpu_id: "This is no id of an instance" }, 404: { gpu_not_found: "There is no such instance" } },
    ],
  },
  {
    method: "get",
    path: "/pools",
    operationId: "listPools",
    tag: "Operations",
    summary: "The pools: who waits, and how many instances there may be",
    answers: { 200: { description: "All of them", schema: "Pools", example: { pools: [pool] } } },
    refusals: [forAdmins, forTemporal, forStores],
  },
  {
    method: "get",
    path: "/pools/{type}",
    operationId: "readPool",
    tag: "Operations",
    summary: "One pool",
    parameters: [poolParameter],
    answers: { 200: { description: "The pool", schema: "Pool", example: pool } },
    refusals: [forAdmins, forTemporal, forStores, forPools],
  },
  {
    method: "patch",
    path: "/pools/{type}",
    operationId: "resizePool",
    tag: "Operations",
    summary: "Set a pool's limits, or pause it",
    parameters: [poolParameter],
    body: {
      schema: "Resize",
      examples: { limits: { min: 1, max: 4 }, pause: { paused: true }, "go on": { paused: false } },
    },
    answers: { 200: { description: "The pool, as it is going to be", schema: "Pool", example: pool } },
    refusals: [forAdmins, forBodies, forStores, forChanges, forPools],
  },
];
