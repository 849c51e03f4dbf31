import {
  type Answer,
  forBodies,
  forKeys,
  forStores,
  forTemporal,
  type Headers,
  ID,
  JOB_UNREADABLE,
  type Operation,
  type Parameter,
  type Refusals,
} from "../operation.ts";

const headers: Headers = {
  Location: { description: "The path of the job's document" },
  "Idempotent-Replayed": { description: "`true`: the job was there already", optional: true },
  "Preference-Applied": { description: "The wait that was granted", optional: true },
};
const parameters: Parameter[] = [
  {
    component: "IdempotencyKey",
    name: "Idempotency-Key",
    in: "header",
    description: "Sent again with the same key, it makes no second job",
    schema: { type: "string", minLength: 1, maxLength: 255 },
  },
  {
    component: "Prefer",
    name: "Prefer",
    in: "header",
    description: "`wait=<seconds>`, at most 60: the answer is the job's document, when it ends or after the wait",
    schema: { type: "string" },
  },
];
const answers: Record<number, Answer> = {
  200: {
    component: "Accepted",
    description: "The job is accepted",
    schema: "Accepted",
    headers,
    example: { id: ID, status: "queued" },
  },
};
const forQueues: Refusals = {
  429: { tenant_queue_full: "Too many of the caller's jobs are waiting" },
  503: {
    queue_full: "Too many jobs are waiting",
    overloaded: "Too many submissions are under way: nothing was started",
    job_start_unknown: "The job `job_id` may have been started: ask for its status",
  },
};
const forOnce: Refusals = {
  400: { invalid_idempotency_key: "The `Idempotency-Key` is empty or too long" },
  409: { job_being_removed: "The job of this `Idempotency-Key` is being removed" },
  422: { idempotency_key_reused: "Something else was submitted under this `Idempotency-Key`" },
};
const refusals = [
  forKeys,
  forBodies,
  forTemporal,
  forQueues,
  forOnce,
  { 503: { job_unreadable: JOB_UNREADABLE } },
  forStores,
];

export const submissionOperations: Operation[] = [
  {
    method: "post",
    path: "/csm",
    operationId: "submitSpeech",
    tag: "Submissions",
    summary: "Text to speech",
    description: "The result is an MP3.",
    parameters,
    body: {
      schema: "SpeechSubmission",
      examples: {
        text: { text: "Hello from c3-render.", voice: "conversational_a" },
        "every option": {
          monologue: ["First this.", "Then that."],
          voice: "conversational_b",
          temperature: 0.8,
          topk: 40,
          max_audio_length: 8000,
          pause_duration: 300,
          max_time: 600,
          complete_in: 1800,
          priority: "high",
          notify_url: "https://example.com/hook",
          metadata: { order: 7 },
        },
        "a voice of one's own": {
          text: "Now in another voice.",
          voice: "clone",
          reference_audio_url: "https://example.com/voice.wav",
          reference_text: "This is the voice that you are asked to speak with.",
        },
        "the older names": {
          text: "Now in another voice.",
          audio_url: "https://example.com/voice.wav",
          audio_text: "This is the voice that you are asked to speak with.",
        },
      },
    },
    answers,
    refusals,
  },
  {
    method: "post",
    path: "/whisper",
    operationId: "submitTranscript",
    tag: "Submissions",
    summary: "Speech to text",
    description: "The result is a text; the job document also lists it as JSON, SRT, VTT, TSV and HTML.",
    parameters,
    body: {
      schema: "TranscriptSubmission",
      examples: {
        recording: { audio_url: "https://example.com/voice.wav" },
        "into English": {
          audio_url: "https://example.com/clip.mp4",
          model: "large-v3",
          task: "translate",
          language: "de",
        },
      },
    },
    answers,
    refusals,
  },
  {
    method: "post",
    path: "/portrait",
    operationId: "submitPortrait",
    tag: "Submissions",
    summary: "A picture that speaks",
    description:
      "It says the recording of `audio_url`, or a text in the fields of `/csm`, or a greeting. The result is an MP4.",
    parameters,
    body: {
      schema: "PortraitSubmission",
      examples: {
        recording: { image_url: "https://example.com/portrait.jpg", audio_url: "https://example.com/voice.wav" },
        text: {
          image_url: "https://example.com/portrait.jpg",
          text: "Good morning. I am a picture that speaks.",
          voice: "conversational_b",
        },
      },
    },
    answers,
    refusals,
  },
  {
    method: "post",
    path: "/analyze",
    operationId: "submitAnalysis",
    tag: "Submissions",
    summary: "What is in a picture",
    description: "The result is a text.",
    parameters,
    body: {
      schema: "AnalysisSubmission",
      examples: {
        question: { image_url: "https://example.com/portrait.jpg", prompt: "What is in this picture?" },
      },
    },
    answers,
    refusals,
  },
  {
    method: "post",
    path: "/jobs",
    operationId: "submitLipsync",
    tag: "Submissions",
    summary: "Lips that follow a recording",
    description: "Runs on Modal. The result is an MP4. The answer, and the job's status, have words of their own.",
    parameters,
    body: {
      schema: "LipsyncSubmission",
      examples: {
        video: {
          video_url: "https://example.com/clip.mp4",
          audio_url: "https://example.com/voice.wav",
          version: "v15",
        },
        picture: { image_url: "https://example.com/portrait.jpg", audio_url: "https://example.com/voice.wav" },
      },
    },
    answers: {
      200: {
        description: "The job is accepted",
        schema: "LipsyncAccepted",
        headers,
        example: { job_id: ID, status: "submitted" },
      },
    },
    refusals: [...refusals, { 503: { lip_sync_not_configured: "There is no token of Modal here" } }],
  },
];
