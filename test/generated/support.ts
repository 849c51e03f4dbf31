import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The document of a running service, in a new folder. */
export async function downloadDocument(apiUrl: string): Promise<{ folder: string; document: string }> {
  const folder = await mkdtemp(join(tmpdir(), "c3-render-generated-"));
  const document = join(folder, "openapi.json");
  await writeFile(document, await (await fetch(`${apiUrl}/openapi.json`)).text());
  return { folder, document };
}
