/**
 * `value` as a string in a query of Temporal's visibility store. Not every store finds values that have a backslash or
 * a double quote in them; none finds another one instead.
 */
export function quoted(value: string): string {
  return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}
