import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { Decoder, Encoder } from "cbor-x";
import protobuf from "protobufjs";
import sharp from "sharp";
import { z } from "zod";
import type { FaultTarget } from "../control/faults.ts";
import type { Render } from "../control/journal.ts";
import type { Pace } from "../control/timing.ts";
import type { Simulation } from "../env.ts";
import { type Media, SAMPLE_RATE } from "../sound/media.ts";
import {
  argumentSchemas,
  type Contract,
  functions,
  type LipSyncArguments,
  nameOf,
  PythonError,
  WrongCall,
} from "./functions.ts";

/** What the function answers with: an address, a path on its volume, or the video itself. */
type Returns = "url" | "path" | "bytes";

export interface ModalOptions extends Pace {
  simulation: Simulation;
  media: Media;
  /** The address under which a file that was made can be fetched. */
  publish(path: string): string;
  /** Where the results are kept. */
  folder: string;
  returns?: () => Returns;
}

/** One call of the function, from its start on. */
interface FunctionCall {
  id: string;
  /** Set once it has ended. */
  result: object | undefined;
  ended: Promise<void>;
  cancel: AbortController;
}

const TOKEN_ID = "simulator";
const SERVICE = "/modal.client.ModalClient";
const CBOR = 4;
const TOKEN_SECONDS = 3600;
const ended = { success: 1, failure: 2, terminated: 3 } as const;

const cborOptions = { mapsAsObjects: true, useRecords: false, tagUint8Array: false };
const encoder = new Encoder(cborOptions);
const decoder = new Decoder(cborOptions);

/** Only what is used here of Modal's messages. */
const { root: messages } = protobuf.parse(`
  syntax = "proto3";
  message Empty {}
  message AuthTokenGetResponse { string token = 1; }
  message FunctionGetRequest { string app_name = 1; string object_tag = 2; }
  message FunctionHandleMetadata { string function_name = 2; repeated int32 supported_input_formats = 50; }
  message FunctionGetResponse { string function_id = 1; FunctionHandleMetadata handle_metadata = 2; }
  message FunctionInput { bytes args = 1; }
  message FunctionPutInputsItem { int32 idx = 1; FunctionInput input = 2; }
  message FunctionMapRequest { string function_id = 1; repeated FunctionPutInputsItem pipelined_inputs = 5; }
  message FunctionPutInputsResponseItem { int32 idx = 1; string input_id = 2; string input_jwt = 3; }
  message FunctionMapResponse {
    string function_call_id = 1;
    repeated FunctionPutInputsResponseItem pipelined_inputs = 2;
    string function_call_jwt = 4;
  }
  message FunctionCallRequest { string function_call_id = 1; }
  message FunctionCallFromIdResponse { string function_call_id = 1; }
  message FunctionGetOutputsRequest { string function_call_id = 1; float timeout = 3; }
  message GenericResult { int32 status = 1; string exception = 2; bytes data = 5; }
  message FunctionGetOutputsItem { GenericResult result = 1; int32 idx = 2; string input_id = 3; int32 data_format = 5; }
  message FunctionGetOutputsResponse { repeated FunctionGetOutputsItem outputs = 4; }
`);

const functionName = z.object({ appName: z.string(), objectTag: z.string() });
const functionInput = z.object({
  functionId: z.string(),
  pipelinedInputs: z.array(z.object({ input: z.object({ args: z.instanceof(Uint8Array) }) })).length(1),
});
const callId = z.object({ functionCallId: z.string() });
const outputsWanted = callId.extend({ timeout: z.number() });
const callArguments = z.tuple([z.array(z.unknown()), z.record(z.string(), z.unknown())]);
/** What a call of the server fails with. */
class GrpcError extends Error {
  override name = "GrpcError";
  readonly code: status;

  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

/** A method of the server: request and response are plain objects. */
interface Method {
  request: string;
  response: string;
  answer(request: unknown, caller: Caller): object | Promise<object>;
}

interface Caller {
  /** The same for every repetition of a call that the client makes of its own accord. */
  idempotencyKey: string | undefined;
  gone: AbortSignal;
}

/** Modal with one app deployed, MuseTalk, whose function lays the sound really under the picture. */
export async function startModalServer(options: ModalOptions): Promise<{ url: string; close(): Promise<void> }> {
  const { simulation, media, folder } = options;
  const { faults, journal } = simulation;
  const calls = new Map<string, FunctionCall>();
  const started = new Map<string, FunctionCall>();

  function spawn(contract: Contract, kwargs: Record<string, unknown>): FunctionCall {
    const id = `fc-${randomUUID().replaceAll("-", "")}`;
    const render: Render = { id, node: "modal", kind: "lipsync", startedAt: Date.now(), arguments: kwargs };
    journal.render(render);
    const cancel = new AbortController();
    const call: FunctionCall = { id, result: undefined, cancel, ended: Promise.resolve() };
    call.ended = execute(id, contract, kwargs, cancel.signal).then(({ outcome, result }) => {
      call.result = result;
      Object.assign(render, { finishedAt: Date.now(), outcome });
    });
    calls.set(id, call);
    return call;
  }

  async function execute(id: string, contract: Contract, kwargs: Record<string, unknown>, signal: AbortSignal) {
    try {
      const value = await lipSync(id, contract, kwargs, signal);
      signal.throwIfAborted();
      return { outcome: "success", result: { status: ended.success, data: encoder.encode(value) } };
    } catch (error) {
      if (signal.aborted) {
        const exception = "InputCancellation('Input was cancelled by user')";
        return { outcome: "interrupted", result: { status: ended.terminated, exception } };
      }
      const exception = error instanceof PythonError ? error.message : `RuntimeError('${error}')`;
      if (contract === "musetalk-poc" && !(error instanceof WrongCall)) {
        // It catches what happens in it, and tells it as a value.
        const told = { status: "failed", error: error instanceof PythonError ? error.reason : String(error) };
        return { outcome: "error", result: { status: ended.success, data: encoder.encode(told) } };
      }
      return { outcome: "error", result: { status: ended.failure, exception } };
    }
  }

  async function lipSync(id: string, contract: Contract, kwargs: Record<string, unknown>, signal: AbortSignal) {
    const startedAt = performance.now();
    const args = argumentSchemas[contract].safeParse(kwargs);
    if (!args.success) throw new WrongCall(`${nameOf(contract)}() got wrong arguments: ${namesOf(args.error)}`);
    if (faults.take(target("/run"), ["render_error"])) throw new PythonError("ValueError", "a fault of the simulator");
    const path = join(folder, `${id}.mp4`);
    const seconds = await make(path, args.data, signal);
    const wanted = options.renderSeconds() ?? seconds * options.speed();
    const left = wanted * 1000 - (performance.now() - startedAt);
    if (left > 0) await delay(left, undefined, { signal, ref: false });
    const output = await handOver(path, id, args.data);
    return contract === "musetalk-poc" ? { status: "completed", ...output } : output;
  }

  /** Makes the video; returns how long it is. */
  async function make(path: string, args: LipSyncArguments, signal: AbortSignal): Promise<number> {
    const work = await mkdtemp(join(folder, "lipsync-"));
    try {
      const sound = await downloaded(args.audio_url, join(work, "audio"), signal);
      const seconds = (await media.decode(sound).catch(unreadable("audio"))).length / SAMPLE_RATE;
      const picture = await pictureOf(args, work, signal);
      await media.talkingVideo({ ...picture, sound, seconds, output: path }).catch(unreadable("video"));
      return seconds;
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  async function handOver(path: string, id: string, { job_id = id, return_as }: LipSyncArguments): Promise<object> {
    switch (return_as ?? options.returns?.() ?? "url") {
      case "url":
        return { output_url: options.publish(path) };
      case "path":
        return { output_path: `/outputs/${job_id}.mp4` };
      case "bytes":
        return { output: await readFile(path) };
    }
  }

  function known(id: string): FunctionCall {
    const call = calls.get(id);
    if (call === undefined) throw new GrpcError(status.NOT_FOUND, `FunctionCall '${id}' not found`);
    return call;
  }

  const methods: Record<string, Method> = {
    AuthTokenGet: {
      request: "Empty",
      response: "AuthTokenGetResponse",
      answer: () => ({ token: token() }),
    },
    FunctionGet: {
      request: "FunctionGetRequest",
      response: "FunctionGetResponse",
      answer(request) {
        const { appName, objectTag } = functionName.parse(request);
        const found = functions.find(({ app, name }) => app === appName && name === objectTag);
        if (found === undefined) {
          throw new GrpcError(status.NOT_FOUND, `App '${appName}' has no function '${objectTag}'`);
        }
        const handleMetadata = { functionName: found.name, supportedInputFormats: [CBOR] };
        return { functionId: found.id, handleMetadata };
      },
    },
    FunctionMap: {
      request: "FunctionMapRequest",
      response: "FunctionMapResponse",
      answer(request, { idempotencyKey }) {
        const { functionId, pipelinedInputs } = functionInput.parse(request);
        const called = functions.find(({ id }) => id === functionId);
        if (called === undefined) throw new GrpcError(status.NOT_FOUND, `Function '${functionId}' not found`);
        const [, kwargs] = callArguments.parse(decoder.decode(pipelinedInputs[0]?.input.args ?? new Uint8Array()));
        const call =
          (idempotencyKey === undefined ? undefined : started.get(idempotencyKey)) ?? spawn(called.contract, kwargs);
        if (idempotencyKey !== undefined) started.set(idempotencyKey, call);
        const inputs = [{ idx: 0, inputId: `in-${call.id}`, inputJwt: token() }];
        return { functionCallId: call.id, pipelinedInputs: inputs, functionCallJwt: token() };
      },
    },
    FunctionCallFromId: {
      request: "FunctionCallRequest",
      response: "FunctionCallFromIdResponse",
      answer: (request) => ({ functionCallId: known(callId.parse(request).functionCallId).id }),
    },
    FunctionGetOutputs: {
      request: "FunctionGetOutputsRequest",
      response: "FunctionGetOutputsResponse",
      async answer(request, { gone }) {
        const { functionCallId, timeout } = outputsWanted.parse(request);
        const call = known(functionCallId);
        await firstOf(call.ended, timeout * 1000, gone);
        if (call.result === undefined) return { outputs: [] };
        return { outputs: [{ result: call.result, idx: 0, inputId: `in-${call.id}`, dataFormat: CBOR }] };
      },
    },
    FunctionCallCancel: {
      request: "FunctionCallRequest",
      response: "Empty",
      async answer(request) {
        const call = known(callId.parse(request).functionCallId);
        call.cancel.abort();
        await call.ended;
        return {};
      },
    },
  };

  function authenticate(metadata: Metadata): void {
    const [id] = metadata.get("x-modal-token-id");
    const [secret] = metadata.get("x-modal-token-secret");
    if (id !== TOKEN_ID || secret !== simulation.apiKey) {
      throw new GrpcError(status.UNAUTHENTICATED, "Token ID or secret is wrong");
    }
  }

  /** Records every call, and makes it fail where a fault says so. */
  function handlerOf(name: string, { request, response, answer }: Method): handleUnaryCall<Buffer, Buffer> {
    const [requestType, responseType] = [messages.lookupType(request), messages.lookupType(response)];
    const path = `/${name}`;

    async function handle(call: ServerUnaryCall<Buffer, Buffer>): Promise<Buffer> {
      const slow = faults.take(target(path), ["delay"]);
      if (slow !== undefined) await delay(slow.delay_ms ?? 1000, undefined, { ref: false });
      if (faults.take(target(path), ["status"])) throw new GrpcError(status.UNAVAILABLE, "a fault of the simulator");
      authenticate(call.metadata);
      const decoded = requestType.toObject(requestType.decode(call.request), { defaults: true, arrays: true });
      const answered = await answer(decoded, callerOf(call));
      if (faults.take(target(path), ["drop_reply"])) throw new GrpcError(status.UNAVAILABLE, "Connection dropped");
      return Buffer.from(responseType.encode(answered).finish());
    }

    return (call, callback) => {
      const journalled = { at: Date.now(), service: "modal", node: undefined, method: "POST", path };
      if (faults.take(target(path), ["hang"])) return journal.call({ ...journalled, status: undefined });
      handle(call).then(
        (answered) => {
          journal.call({ ...journalled, status: 200 });
          callback(null, answered);
        },
        (error: unknown) => {
          journal.call({ ...journalled, status: 500 });
          callback(serviceErrorOf(error));
        },
      );
    };
  }

  const server = new Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
  const handlers = Object.entries(methods).map(([name, method]) => [name, handlerOf(name, method)]);
  server.addService(definitionOf(Object.keys(methods)), Object.fromEntries(handlers));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });

  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      for (const { cancel } of calls.values()) cancel.abort();
      await Promise.all([...calls.values()].map((call) => call.ended));
      server.forceShutdown();
    },
  };
}

function target(path: string): FaultTarget {
  return { service: "modal", path };
}

function definitionOf(names: string[]): ServiceDefinition {
  const raw = (bytes: Buffer) => bytes;
  const codecs = { requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw };
  const unary = { requestStream: false, responseStream: false, ...codecs };
  return Object.fromEntries(names.map((name) => [name, { path: `${SERVICE}/${name}`, ...unary }]));
}

function callerOf(call: ServerUnaryCall<Buffer, Buffer>): Caller {
  const gone = new AbortController();
  call.once("cancelled", () => gone.abort());
  const [idempotencyKey] = call.metadata.get("x-idempotency-key");
  return { idempotencyKey: idempotencyKey?.toString(), gone: gone.signal };
}

function serviceErrorOf(error: unknown): Partial<ServiceError> {
  if (error instanceof GrpcError) return { code: error.code, details: error.message };
  if (error instanceof z.ZodError) return { code: status.INVALID_ARGUMENT, details: error.message };
  return { code: status.INTERNAL, details: String(error) };
}

/** The client reads nothing of it but the time when it expires. */
function token(): string {
  const part = (claims: object) => Buffer.from(JSON.stringify(claims)).toString("base64url");
  return [part({ alg: "none" }), part({ exp: Math.floor(Date.now() / 1000) + TOKEN_SECONDS }), "simulator"].join(".");
}

/** Waits for `something`, at most `milliseconds` and while its caller is there. */
async function firstOf(something: Promise<void>, milliseconds: number, gone: AbortSignal): Promise<void> {
  const enough = new AbortController();
  const signal = AbortSignal.any([enough.signal, gone]);
  const late = delay(milliseconds, undefined, { signal, ref: false }).catch(() => undefined);
  await Promise.race([something, late]);
  enough.abort();
}

function namesOf(error: z.ZodError): string {
  const names = error.issues.flatMap((issue) => (issue.code === "unrecognized_keys" ? issue.keys : issue.path));
  return names.join(", ");
}

function unreadable(what: string) {
  return (): never => {
    throw new PythonError("ValueError", `cannot read the ${what}`);
  };
}

async function downloaded(url: string, path: string, signal: AbortSignal): Promise<string> {
  const response = await fetch(url, { signal }).catch((error: unknown) => {
    throw new PythonError("ConnectionError", String(error));
  });
  if (!response.ok) throw new PythonError("HTTPError", `${response.status} Client Error for url: ${url}`);
  await writeFile(path, Buffer.from(await response.arrayBuffer()));
  return path;
}

/** A still is made a PNG that ffmpeg can read; the rest is for ffmpeg to see. */
async function pictureOf({ video_url, image_url }: LipSyncArguments, work: string, signal: AbortSignal) {
  if (video_url) return { picture: await downloaded(video_url, join(work, "video"), signal), still: false };
  if (!image_url) throw new PythonError("ValueError", "neither video_url nor image_url");
  const image = await downloaded(image_url, join(work, "image"), signal);
  const picture = join(work, "still.png");
  await sharp(image).autoOrient().flatten({ background: "white" }).png().toFile(picture).catch(unreadable("image"));
  return { picture, still: true };
}
