const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });
const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 4 });

/** Of what is not known, or does not apply. */
export const NONE = "–";

/** @param {string | number | undefined} value ISO 8601, or epoch milliseconds */
export function time(value) {
  return value === undefined ? NONE : clock.format(new Date(value));
}

/** @param {number | undefined} seconds */
export function duration(seconds) {
  if (seconds === undefined) return NONE;
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/**
 * @param {string | undefined} start
 * @param {string} [end] now when left out
 */
export function between(start, end) {
  if (start === undefined) return NONE;
  return duration(((end === undefined ? Date.now() : Date.parse(end)) - Date.parse(start)) / 1000);
}

/** @param {number | undefined} amount without a currency, since the API knows none */
export function money(amount) {
  return amount === undefined ? NONE : number.format(amount);
}

/** @param {number | null | undefined} fraction */
export function percent(fraction) {
  return typeof fraction === "number" ? `${Math.round(fraction * 100)} %` : NONE;
}

/** @param {string} word as the API has it */
export function plain(word) {
  return word.replaceAll("_", " ");
}
