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

/** Where instances come from. Every call may be made twice, and finds what the first one did. */
export interface InstanceSource {
  /** @throws when there is none to be had now */
  launch(request: LaunchRequest, signal: AbortSignal): Promise<Paid>;
  /** Whether the provider still has it; undefined when it does not say. */
  isThere(instance: InstanceKey & { workload: string }, signal: AbortSignal): Promise<boolean | undefined>;
  /**
   * Ends every instance of this key and sees that none is left; throws, to be tried again, until then.
   * @param own the one that was used, which may be gone already
   * @returns what was paid for
   */
  end(key: InstanceKey, own: Paid | undefined, signal: AbortSignal): Promise<EndedInstance[]>;
}
