import { proxySinks, type Sinks, type WorkflowInterceptors } from "@temporalio/workflow";

/** What workflows tell their worker, also while they are replayed. */
export interface RunSinks extends Sinks {
  runs: {
    /** A run is here. The worker knows by itself of which workflow it is. */
    seen(): void;
  };
}

const { runs } = proxySinks<RunSinks>();

export const interceptors = (): WorkflowInterceptors => ({
  inbound: [
    {
      execute(input, next) {
        runs.seen();
        return next(input);
      },
    },
  ],
});
