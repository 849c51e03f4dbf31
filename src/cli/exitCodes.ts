/** What the command ends with, for scripts. */
export const exitCodes = {
  success: 0,
  jobFailed: 1,
  usage: 2,
  refused: 3,
  notSaved: 4,
  /** An error of this program itself, as in sysexits.h. */
  broken: 70,
  /** As shells say it of a program that Ctrl-C has ended. */
  interrupted: 130,
} as const;

export const EXIT_CODES_HELP = `Exit codes:
  0    it was done; a job that was waited for has succeeded
  1    the job failed, timed out or was cancelled
  2    what was typed, or a setting, makes no sense
  3    the API refused it, or cannot be reached
  4    the result could not be saved
  130  Ctrl-C`;

/** What was typed does not make sense. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** A result could not be had, or not be written where it should be. */
export class NotSavedError extends Error {
  override name = "NotSavedError";
}
