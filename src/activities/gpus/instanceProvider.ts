import type { EndedInstance } from "../../contracts/activityTypes.ts";

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

/** Which instances of a key are to end: all of them, or only one. */
export interface Ending extends InstanceKey {
  /** The one that was used, which may be gone already. */
  own?: Paid;
  onlyOwn?: boolean;
  /** What an earlier attempt knew of its end. */
  before?: EndedInstance;
}

/** Hears of the end of the own instance, first by guess and then as the provider tells it. */
export type Note = (ended: EndedInstance) => void;

/** Where instances come from. Every call may be made twice, and finds what the first one did. */
export interface InstanceSource {
  /**
   * @param maybe told `true` before the provider is asked for an instance, since from then on there may be one, and
   *   `false` when it has refused
   * @throws when there is none to be had now
   */
  launch(request: LaunchRequest, signal: AbortSignal, maybe: (isThere: boolean) => void): Promise<Paid>;
  /** Whether the provider still has it; undefined when it does not say. */
  isThere(instance: InstanceKey & { workload: string }, signal: AbortSignal): Promise<boolean | undefined>;
  /** Whether the provider answers anything at all, be it a refusal; absent where there is none. */
  answers?(signal: AbortSignal): Promise<boolean>;
  /**
   * Ends instances and sees that none is left; throws, to be tried again, until then. Others than the own one are
   * ended, and written down, by workflows of theirs: should a manager be terminated, nobody else would know of them.
   * @returns the own one, if there was one that was paid for
   */
  end(ending: Ending, note: Note, signal: AbortSignal): Promise<EndedInstance | undefined>;
}
