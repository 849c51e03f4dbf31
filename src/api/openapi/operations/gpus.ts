import {
  bodyAnswers,
  idAndBodyAnswer,
  keyAnswers,
  type Operation,
  type Parameter,
  refusal,
  temporalAnswers,
} from "../operation.ts";

const poolParameter: Parameter = {
  name: "type",
  in: "path",
  description: "The type of its instances",
  schema: { type: "string" },
  example: "media:fast",
};
const pool = { type: "media:fast", limits: { min: 0, max: 4 }, paused: false, rate: 0.5, queue: [], gpus: [] };
const noPool = refusal("There is no such pool", ["pool_not_found"]);

export const gpuOperations: Operation[] = [
  {
    method: "get",
    path: "/gpus",
    operationId: "listGpus",
    tag: "Operations",
    summary: "The instances: what they do, and what they cost",
    answers: { ...keyAnswers, ...temporalAnswers, 200: { description: "All of them", schema: "Gpus" } },
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
    answers: {
      ...keyAnswers,
      ...temporalAnswers,
      ...bodyAnswers,
      200: { description: "It has been told", schema: "Drained" },
      400: idAndBodyAnswer("invalid_gpu_id"),
      404: refusal("There is no such instance", ["gpu_not_found"]),
    },
  },
  {
    method: "get",
    path: "/pools",
    operationId: "listPools",
    tag: "Operations",
    summary: "The pools: who waits, and how many instances there may be",
    answers: { ...keyAnswers, 200: { description: "All of them", schema: "Pools", example: { pools: [pool] } } },
  },
  {
    method: "get",
    path: "/pools/{type}",
    operationId: "readPool",
    tag: "Operations",
    summary: "One pool",
    parameters: [poolParameter],
    answers: { ...keyAnswers, 200: { description: "The pool", schema: "Pool", example: pool }, 404: noPool },
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
    answers: {
      ...keyAnswers,
      ...temporalAnswers,
      ...bodyAnswers,
      200: { description: "The pool, as it is going to be", schema: "Pool", example: pool },
      404: noPool,
    },
  },
];
