import type { EndedInstance } from "./types.ts";

/** What identifies an instance at the provider, from before it exists: the launch API knows no other mark. */
export interface InstanceKey {
  type: string;
  /** Epoch seconds. */
  expires: number;
}

export interface LaunchRequest extends InstanceKey {
  /** Epoch milliseconds; an instance of this key that is older is not this one. */
  launchedAfter: number;
  /** The node of one's own that is to be used. */
  node?: string;
}

/** An instance from the moment on that it is paid for. */
export interface Paid {
  workload: string;
  node: string;
  /** Epoch seconds. */
  created: number;
}

/** Which instances of a key are to end: all of them, or `only` one, by its workload. */
export interface Ending extends InstanceKey {
  only?: string;
  /** The one that was used, which may be gone already. */
  own?: Paid;
  /** What an earlier attempt has ended. */
  before: EndedInstance[];
}

/** Where instances come from. Every call may be made twice, and finds what the first one did. */
export interface InstanceSource {
  /** @throws when there is none to be had now */
  launch(request: LaunchRequest, signal: AbortSignal): Promise<Paid>;
  /** Whether the provider still has it; undefined when it does not say. */
  isThere(instance: InstanceKey & { workload: string }, signal: AbortSignal): Promise<boolean | undefined>;
  /**
   * Ends instances and sees that none is left; throws, to be tried again, until then.
   * @param note hears what has ended so far
   * @returns what was paid for
   */
  end(ending: Ending, note: (ended: EndedInstance[]) => void, signal: AbortSignal): Promise<EndedInstance[]>;
}
