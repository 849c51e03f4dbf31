import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import proto, { type temporal } from "@temporalio/proto";

const { History } = proto.temporal.api.history.v1;
export type History = temporal.api.history.v1.IHistory;

const ENDING = ".pb.gz";
const folderOf = (version: string) => fileURLToPath(new URL(`./${version}/`, import.meta.url));

/** A file per history: `History` of the Temporal API as protobuf, compressed. */
export function writeHistory(version: string, name: string, history: History): void {
  const bytes = History.encode(withoutTraces(history)).finish();
  mkdirSync(folderOf(version), { recursive: true });
  writeFileSync(`${folderOf(version)}${name}${ENDING}`, gzipSync(bytes, { level: 9 }));
}

/** Those of every version, by version and name. */
export function readHistories(): { version: string; name: string; history: History }[] {
  const found: { version: string; name: string; history: History }[] = [];
  const versions = readdirSync(new URL(".", import.meta.url), { withFileTypes: true });
  for (const { name: version } of versions.filter((entry) => entry.isDirectory())) {
    for (const file of readdirSync(folderOf(version)).filter((file) => file.endsWith(ENDING))) {
      const bytes = gunzipSync(readFileSync(`${folderOf(version)}${file}`));
      found.push({ version, name: file.slice(0, -ENDING.length), history: History.decode(bytes) });
    }
  }
  return found;
}

/** The same, without where it was recorded (`pid@host`, paths in stack traces): a replay looks at neither. */
function withoutTraces(history: History): History {
  const plain = History.toObject(History.create(history), { longs: String, bytes: String });
  const clean = JSON.stringify(plain, (key, value: unknown) =>
    typeof value === "string" && (key === "stackTrace" || /^\d+@/.test(value)) ? "" : value,
  );
  return History.fromObject(JSON.parse(clean));
}
