import assert from "node:assert/strict";
import { ActivityFailure, ApplicationFailure, RetryState, TimeoutFailure } from "@temporalio/common";
import { failureTypes } from "../../src/jobs/failureTypes.ts";
import { callersSentence } from "../../src/workflows/failures.ts";

const SECRET = "/usr/bin/ffmpeg -i /data/tmp/job_1/voice.wav: ECONNREFUSED 10.0.0.7:9000";
const inActivity = (cause: Error) =>
  new ActivityFailure("failed", "runModel", "1", RetryState.TIMEOUT, "worker", cause);
const timeout = (cause?: Error) => {
  const failure = new TimeoutFailure("activity timed out", undefined, "SCHEDULE_TO_CLOSE");
  return Object.assign(failure, { cause });
};

describe("what a job tells its caller of a failure", () => {
  for (const type of Object.values(failureTypes).filter((each) => each !== failureTypes.workerFailed)) {
    it(`is the sentence of a failure of the type ${type}`, () => {
      const failure = ApplicationFailure.create({ message: "image: this is no picture", type });
      assert.equal(callersSentence(inActivity(failure)), "image: this is no picture");
      assert.equal(callersSentence(failure), "image: this is no picture");
    });
  }

  const ours = /^the service failed in the step runModel, which is not the job's doing; its operator finds/;
  const late = /^the step runModel did not end in time$/;
  const cases: [what: string, error: unknown, told: RegExp][] = [
    ["a failure of the worker", inActivity(ApplicationFailure.create({ message: SECRET, type: "WorkerFailed" })), ours],
    ["an error that nobody expected", inActivity(ApplicationFailure.create({ message: SECRET, type: "Error" })), ours],
    ["an error without a type", inActivity(ApplicationFailure.create({ message: SECRET })), ours],
    ["an error in an activity", inActivity(new Error(SECRET)), ours],
    ["a timeout after one", inActivity(timeout(ApplicationFailure.create({ message: SECRET, type: "Error" }))), late],
    ["a timeout alone", inActivity(timeout()), late],
    ["an error of the workflow", new Error(SECRET), /^the service failed, which is not/],
    ["what is no error", SECRET, /^the service failed, which is not/],
  ];
  for (const [what, error, told] of cases) {
    it(`is nothing of ${what}`, () => {
      const sentence = callersSentence(error);
      assert.match(sentence, told);
      assert.ok(!/ffmpeg|data|10\.0/.test(sentence), sentence);
    });
  }

  it("is the last reason behind a timeout, where that was written for callers", () => {
    const cause = ApplicationFailure.create({ message: "the model could not be reached", type: "ModelUnreachable" });
    const told = callersSentence(inActivity(timeout(cause)));
    assert.equal(told, "the step runModel did not end in time: the model could not be reached");
  });
});
