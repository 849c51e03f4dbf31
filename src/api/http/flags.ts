const no = new Set(["0", "false", "no", "off", "n", "f", "none", "null", "undefined"]);

/** Whether a flag of a query is set: programs write `1`, `true`, `True` or `yes`, and people nothing but its name. */
export function isYes(flag: string | undefined): boolean {
  return flag !== undefined && !no.has(flag.trim().toLowerCase());
}
