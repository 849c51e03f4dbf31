import { forAdmins, forBodies, type Operation } from "../operation.ts";

const payloads = { payloads: [{ metadata: { encoding: "anNvbi9wbGFpbg==" }, data: "IkhlbGxvLiI=" }] };
const common = {
  method: "post",
  tag: "Operations",
  description: "Temporal's remote codec, for its Web UI. Payloads are those of protocol buffers in JSON.",
  body: { schema: "Payloads", examples: { payload: payloads } },
  answers: {
    200: {
      component: "Payloads",
      description: "As many payloads, in the same order",
      schema: "Payloads",
      example: payloads,
    },
  },
  refusals: [forAdmins, forBodies],
} as const satisfies Partial<Operation>;

/** Where payloads are encrypted. */
export const codecOperations: Operation[] = [
  { ...common, path: "/codec/decode", operationId: "decodePayloads", summary: "Decrypt what is stored in Temporal" },
  { ...common, path: "/codec/encode", operationId: "encodePayloads", summary: "Encrypt what is to be stored there" },
];
