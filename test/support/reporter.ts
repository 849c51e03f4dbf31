import Mocha from "mocha";

/** What a failed test has left open would keep the process for ever. */
const LEAVE_AFTER_FAILURE_MS = 10_000;

/** The spec reporter, with one closing line that a machine can read: `N passed, N failed, N skipped`. */
export default class SpecWithTotals extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = this.stats;
      if (failures > 0) setTimeout(() => process.exit(1), LEAVE_AFTER_FAILURE_MS).unref();
      process.stdout.write(`${passes} passed, ${failures} failed${pending > 0 ? `, ${pending} skipped` : ""}\n`);
    });
  }
}
