import { forStores, type Operation } from "../operation.ts";

export const serviceOperations: Operation[] = [
  {
    method: "get",
    path: "/",
    operationId: "readRoot",
    tag: "Service",
    summary: "Whether the API runs",
    open: true,
    answers: {
      200: {
        description: "It does",
        schema: "Running",
        example: { status: "C3 Render API is running", timestamp: "2026-11-21T10:00:00.000Z" },
      },
    },
  },
  {
    method: "get",
    path: "/healthz",
    operationId: "readHealth",
    tag: "Service",
    summary: "Whether the process is well",
    open: true,
    answers: { 200: { description: "It is", schema: "Ok", example: { status: "ok" } } },
  },
  {
    method: "get",
    path: "/readyz",
    operationId: "readReadiness",
    tag: "Service",
    summary: "Whether jobs would be done",
    description:
      "Temporal and the object store can be reached, and workers poll. What is known against the GPU provider is told, and " +
      "with `strict` it makes the service not ready: jobs are taken, and wait.",
    open: true,
    parameters: [
      {
        name: "strict",
        in: "query",
        description: "Not ready, either, while no GPU can be rented",
        schema: { type: "boolean" },
        example: true,
      },
    ],
    answers: { 200: { description: "They would", schema: "Ready", example: { status: "ok" } } },
    refusals: [{ 503: { not_ready: "Something is missing" } }],
  },
  {
    method: "get",
    path: "/openapi.json",
    operationId: "readDocument",
    tag: "Service",
    summary: "This document",
    open: true,
    answers: { 200: { description: "OpenAPI 3.1", schema: "Document" } },
  },
  ...pageOperations("docs", "readDocs", { summary: "This document as a page", file: "swagger-ui.css" }),
  ...pageOperations("dashboard", "readDashboard", {
    summary: "Pools, instances and jobs as a page",
    description: "The page holds no data: it asks for a key, and this API for what the key may see.",
    file: "dashboard.css",
  }),
];

/** A page, and the files that it is made of. */
function pageOperations(
  name: string,
  operationId: string,
  { file, ...about }: Pick<Operation, "summary" | "description"> & { file: string },
): Operation[] {
  return [
    {
      method: "get",
      path: `/${name}`,
      operationId,
      tag: "Service",
      ...about,
      open: true,
      answers: { 200: { description: "The page", mediaType: "text/html" } },
    },
    {
      method: "get",
      path: `/${name}/{file}`,
      operationId: `${operationId}File`,
      tag: "Service",
      summary: "What that page is made of",
      open: true,
      parameters: [
        { name: "file", in: "path", description: "The file's name", schema: { type: "string" }, example: file },
      ],
      answers: { 200: { description: "The file", mediaType: "*/*" } },
      refusals: [{ 404: { file_not_found: "There is no such file" } }],
    },
  ];
}

const fileHeaders = {
  ETag: { description: "Changes when the file does" },
  "Content-Disposition": { description: "Whether it is saved, and its name" },
};

/** Where the object store is a folder, and the API serves the links to it. */
export const fileOperation: Operation = {
  method: "get",
  path: "/files/{key}",
  operationId: "readFile",
  tag: "Jobs",
  summary: "A file, by a signed link",
  description:
    "Made by other answers, not by hand. It is saved under its name, or shown with `inline`. Parts can be asked for with `Range`.",
  open: true,
  parameters: [
    { name: "key", in: "path", description: "Where it is stored; has slashes", schema: { type: "string" } },
    { name: "expires", in: "query", description: "Of the link", schema: { type: "string" } },
    { name: "signature", in: "query", description: "Of the link", schema: { type: "string" } },
    { name: "download", in: "query", description: "The name that it is saved by", schema: { type: "string" } },
    { name: "inline", in: "query", description: "It is shown, not saved", schema: { type: "boolean" } },
    { name: "If-None-Match", in: "header", description: "`ETag`s of what the caller has", schema: { type: "string" } },
    { name: "If-Range", in: "header", description: "The `ETag` that a part must be of", schema: { type: "string" } },
    { name: "Range", in: "header", description: "Bytes (RFC 9110)", schema: { type: "string" }, example: "bytes=0-99" },
  ],
  answers: {
    200: { description: "All of it", mediaType: "*/*", headers: fileHeaders },
    206: {
      description: "A part",
      mediaType: "*/*",
      headers: { ...fileHeaders, "Content-Range": { description: "Which part" } },
    },
    304: { description: "The caller has it already", headers: { ETag: fileHeaders.ETag } },
  },
  refusals: [
    {
      403: { link_expired: "The link has expired", invalid_link: "The link was changed" },
      404: { file_not_found: "There is no such file" },
      416: { range_not_satisfiable: "The file has no such part" },
    },
    forStores,
  ],
};
