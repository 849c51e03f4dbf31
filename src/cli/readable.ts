/** Answers as people read them: a line for each field, a table for what is a list. */

type Fields = Record<string, unknown>;

/** What a terminal would take for an order, such as to change its title, is not shown. */
export function harmless(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, "");
}

export function readable(value: object): string {
  const entries = Object.entries(value).filter(([, field]) => field !== undefined && field !== null);
  const width = Math.max(0, ...entries.map(([name]) => name.length));
  return entries.map(([name, field]) => fieldLines(name, field, width)).join("\n");
}

function fieldLines(name: string, field: unknown, width: number): string {
  const label = name.padEnd(width);
  if (Array.isArray(field)) {
    if (field.length === 0) return `${label}  none`;
    return field.every(isFields) ? `${name}\n${indented(table(field))}` : `${label}  ${field.map(cell).join(", ")}`;
  }
  return isFields(field) ? `${name}\n${indented(readable(field))}` : `${label}  ${cell(field)}`;
}

/** The columns are those that any of the rows has. */
export function table(rows: readonly Fields[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row).filter((name) => row[name] !== undefined)))];
  const cells = [names, ...rows.map((row) => names.map((name) => cell(row[name])))];
  const widths = names.map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  return cells
    .map((line) =>
      line
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function cell(value: unknown): string {
  if (value === undefined || value === null) return "–";
  if (typeof value === "number") return String(Math.round(value * 1000) / 1000);
  return harmless(typeof value === "object" ? JSON.stringify(value) : String(value));
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function indented(text: string): string {
  return text.replace(/^/gm, "  ");
}
