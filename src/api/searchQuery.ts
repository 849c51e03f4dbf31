/** `value` as a string in a query of Temporal's visibility store. */
export function quoted(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
