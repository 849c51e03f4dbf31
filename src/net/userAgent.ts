import { readPackage } from "../process/packageVersion.ts";

/** What this service calls itself when it asks others: its name and version, as the package has them. */
export function readUserAgent(): string {
  const { name, version } = readPackage();
  return `${name}/${version}`;
}
