import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = new URL("../", import.meta.url);
const read = async (path: string) => await readFile(new URL(path, root), "utf8");

interface Locked {
  resolved?: string;
  integrity?: string;
  link?: boolean;
}

describe("what is built in from elsewhere", () => {
  it("is a package of npm's own registry, of a hash that is known", async () => {
    const { packages } = JSON.parse(await read("package-lock.json")) as { packages: Record<string, Locked> };
    const strange = Object.entries(packages).filter(
      ([path, { resolved = "", integrity = "", link }]) =>
        path.includes("node_modules/") &&
        link !== true &&
        !((resolved === "" || resolved.startsWith("https://registry.npmjs.org/")) && integrity.startsWith("sha512-")),
    );
    assert.deepEqual(strange, []);
  });

  it("is named by an exact version", async () => {
    const { dependencies, devDependencies } = JSON.parse(await read("package.json")) as Record<
      string,
      Record<string, string>
    >;
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(([, version]) => !/^\d/.test(version));
    assert.deepEqual(loose, []);
  });

  it("runs nothing while it is installed", async () => {
    assert.match(await read(".npmrc"), /^ignore-scripts=true$/m);
  });

  it("is an image of a digest that is known, except for our own", async () => {
    const [dockerfile, compose] = await Promise.all([read("Dockerfile"), read("docker-compose.temporal.yml")]);
    const images = [...`${dockerfile}\n${compose}`.matchAll(/^(?:FROM|\s+image:) +(\S+)/gm)].map(
      ([, image = ""]) => image,
    );
    assert.ok(images.length >= 6, images.join(", "));
    assert.deepEqual(
      images.filter((image) => image !== "c3-render" && !/^[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}$/.test(image)),
      [],
    );
  });

  it("is listed in full by npm, with licences", async function () {
    this.timeout(60_000);
    const args = ["sbom", "--sbom-format", "cyclonedx", "--package-lock-only"];
    const { stdout } = await run("npm", args, { cwd: root, maxBuffer: 64 * 1024 * 1024 });
    const { components } = JSON.parse(stdout) as { components: { name: string; licenses?: object[] }[] };
    const names = new Set(components.map(({ name }) => name));
    const { dependencies } = JSON.parse(await read("package.json")) as { dependencies: Record<string, string> };
    assert.deepEqual(
      Object.keys(dependencies).filter((name) => !names.has(name)),
      [],
    );
  });
});
