const timeOfDay = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const dayAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "short" });
const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 4 });

/** Of what is not known, or does not apply. */
export const NONE = "–";

/** @param {string | number | undefined} value ISO 8601, or epoch milliseconds; of today without the date */
export function time(value) {
  if (value === undefined) return NONE;
  const date = new Date(value);
  return (date.toDateString() === new Date().toDateString() ? timeOfDay : dayAndTime).format(date);
}

/** @param {number | undefined} seconds */
export function duration(seconds) {
  if (seconds === undefined) return NONE;
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const named = ["h", "min", "s"].map((unit, index) => (parts[index] ? `${parts[index]} ${unit}` : ""));
  // The two largest are enough.
  return named.filter(Boolean).slice(0, 2).join(" ") || "0 s";
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

/** @param {number} fraction 0–1 */
export function percent(fraction) {
  return `${Math.round(fraction * 100)} %`;
}

/** @param {string} word as the API has it */
export function plain(word) {
  return word.replaceAll("_", " ");
}

/** @param {string} text that begins in the middle of one */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
