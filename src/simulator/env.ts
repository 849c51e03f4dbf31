import type { HttpBindings } from "@hono/node-server";
import type { Faults } from "./control/faults.ts";
import type { Journal } from "./control/journal.ts";
import type { World } from "./control/world.ts";

/** What every part of the simulator works on. */
export interface Simulation {
  world: World;
  faults: Faults;
  journal: Journal;
  apiKey: string;
  /** The simulator's own origin; known once it listens. */
  url: () => string;
}

export interface SimulatorEnv {
  Bindings: HttpBindings;
}
