import type { Context } from "hono";

export type ComfyVersion = "0.3.33" | "0.3.49" | "0.3.64" | "latest";

/** What the page of another host sends to a server on this machine; a port counts when both name one. */
export function isForeign(c: Context): boolean {
  const [origin = "", host = ""] = [c.req.header("origin"), c.req.header("host")];
  if (!URL.canParse(origin) || !/^(localhost|127\.[\d.]+|\[::1\])(:\d+)?$/i.test(host)) return false;
  const [theirs, own] = [new URL(origin), new URL(`http://${host}`)];
  const ports = theirs.port !== "" && own.port !== "";
  return ports ? theirs.host !== own.host : theirs.hostname !== own.hostname;
}

/** The real server has a catch-all for GET, so that anything else is a wrong method. */
export function absent(c: Context): Response {
  const missing = c.req.method === "GET" || c.req.method === "HEAD";
  return missing ? c.text("404: Not Found", 404) : c.text("405: Method Not Allowed", 405);
}

export function statsOf(version: ComfyVersion) {
  const comfyui_version = version === "latest" ? "0.9.0" : version;
  const python_version = "3.12.11 (main) [GCC 12.2.0]";
  const memory = { vram_total: 25_393_692_672, vram_free: 24_918_360_064, torch_vram_total: 0, torch_vram_free: 0 };
  return {
    system: { os: "posix", comfyui_version, python_version, embedded_python: false, argv: ["main.py"] },
    devices: [{ name: "c3-render simulator", type: "cuda", index: 0, ...memory }],
  };
}
