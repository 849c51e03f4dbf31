import { Worker } from "node:worker_threads";
import { type Pcm, pcmOf } from "./media.ts";

interface SpeechRequest {
  id: number;
  voice: string;
  text: string;
}

type SpeechAnswer = { id: number; wav: Uint8Array } | { id: number; error: string };

export type Speech = ReturnType<typeof createSpeech>;

/** Voices of Flite that speak at the same sample rate. */
export type FliteVoice = "slt" | "rms" | "awb";

const KEPT = 200;

/** A real, if simple, speech synthesizer in a thread of its own, started when it is first needed. */
export function createSpeech() {
  let worker: Worker | undefined;
  const waiting = new Map<number, { resolve: (pcm: Pcm) => void; reject: (error: Error) => void }>();
  const spoken = new Map<string, Promise<Pcm>>();
  let lastId = 0;

  function start(): Worker {
    const started = new Worker(new URL("./fliteWorker.mjs", import.meta.url), {
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    started.unref();
    started.on("message", (answer: SpeechAnswer) => {
      const request = waiting.get(answer.id);
      waiting.delete(answer.id);
      if ("error" in answer) request?.reject(new Error(answer.error));
      else request?.resolve(pcmOf(Buffer.from(answer.wav)));
    });
    started.on("error", (error) => {
      for (const request of waiting.values()) request.reject(error);
      waiting.clear();
      worker = undefined;
    });
    return started;
  }

  function synthesize(voice: FliteVoice, text: string): Promise<Pcm> {
    worker ??= start();
    lastId += 1;
    const request: SpeechRequest = { id: lastId, voice, text };
    const answer = new Promise<Pcm>((resolve, reject) => waiting.set(request.id, { resolve, reject }));
    worker.postMessage(request);
    return answer;
  }

  return {
    /** What `text` sounds like; the same words are synthesized once. */
    speak(voice: FliteVoice, text: string): Promise<Pcm> {
      const key = `${voice} ${text}`;
      const known = spoken.get(key);
      if (known !== undefined) return known;
      const speaking = synthesize(voice, text);
      spoken.set(key, speaking);
      speaking.catch(() => spoken.delete(key));
      const [oldest] = spoken.keys();
      if (spoken.size > KEPT && oldest !== undefined) spoken.delete(oldest);
      return speaking;
    },
    async close(): Promise<void> {
      await worker?.terminate();
    },
  };
}
