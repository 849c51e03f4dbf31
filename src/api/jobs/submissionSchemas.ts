import type { Config } from "../../config/index.ts";
import { analyzeSchema } from "../../jobs/kinds/analyze.ts";
import { csmSchema } from "../../jobs/kinds/csm.ts";
import { lipsyncSchema } from "../../jobs/kinds/lipsync.ts";
import { portraitSchema } from "../../jobs/kinds/portrait.ts";
import { whisperSchema } from "../../jobs/kinds/whisper.ts";

/** The bodies of submissions, as this service takes them: what validates a request is what the document shows. */
export function submissionSchemas({ jobs, portrait, vision, inputs }: Config) {
  const defaults = {
    maxTimeSeconds: jobs.defaultMaxTimeSeconds,
    completeInSeconds: jobs.defaultCompleteInSeconds,
    maxTextChars: jobs.maxTextChars,
  };
  return {
    csm: csmSchema(defaults),
    whisper: whisperSchema(defaults),
    portrait: portraitSchema({ ...defaults, greeting: portrait.greeting }),
    analyze: analyzeSchema({ ...defaults, models: vision.models }),
    lipsync: lipsyncSchema({ ...defaults, localPaths: inputs.allowLocalPaths !== undefined }),
  };
}
