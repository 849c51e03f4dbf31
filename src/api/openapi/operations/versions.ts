import { forAdmins, forBodies, forChanges, forTemporal, type Operation } from "../operation.ts";

const before = { id: "0.1.0-3f9c2a71", status: "draining", current_at: "2026-11-20T09:00:00.000Z" };
const now = { id: "0.2.0-b81d04e6", status: "current", current_at: "2026-11-27T09:00:00.000Z" };
const versions = { current: now.id, versions: [now, before] };

export const versionOperations: Operation[] = [
  {
    method: "get",
    path: "/versions",
    operationId: "listVersions",
    tag: "Operations",
    summary: "List the versions of the workers",
    answers: { 200: { description: "All that workers have announced", schema: "Versions", example: versions } },
    refusals: [forAdmins, forTemporal],
  },
  {
    method: "post",
    path: "/versions/current",
    operationId: "makeVersionCurrent",
    tag: "Operations",
    summary: "Make a version current: new jobs begin on it",
    body: {
      schema: "MakeCurrent",
      examples: { "a new one": { version: now.id }, "none, as before versioning": { version: null } },
    },
    answers: { 200: { description: "The versions as they are now", schema: "Versions", example: versions } },
    refusals: [
      forAdmins,
      forBodies,
      forChanges,
      forTemporal,
      {
        404: { version_not_found: "No worker has announced this version" },
        409: {
          version_not_ready: "Its workers do not poll every task queue, or another one was made current just now",
        },
      },
    ],
  },
];
