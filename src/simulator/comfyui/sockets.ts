import { randomUUID } from "node:crypto";
import type { WebSocket } from "ws";

/** Who listens to one ComfyUI server, by client id. */
export function createComfySockets() {
  const sockets = new Map<string, WebSocket>();

  function sendTo(socket: WebSocket | undefined, type: string, data: object): void {
    if (socket !== undefined && socket.readyState === socket.OPEN) socket.send(JSON.stringify({ type, data }));
  }

  return {
    /**
     * An older socket of the same client hears nothing any more.
     * @returns the client's id, a new one if it has none
     */
    add(clientId: string, socket: WebSocket): string {
      const id = clientId === "" ? randomUUID().replaceAll("-", "") : clientId;
      sockets.set(id, socket);
      socket.on("error", () => socket.terminate());
      socket.once("close", () => {
        if (sockets.get(id) === socket) sockets.delete(id);
      });
      return id;
    },
    has: (clientId: string) => sockets.has(clientId),
    send: (clientId: string, type: string, data: object) => sendTo(sockets.get(clientId), type, data),
    sendAll(type: string, data: object): void {
      for (const socket of sockets.values()) sendTo(socket, type, data);
    },
    close: (clientId: string) => sockets.get(clientId)?.close(),
    drop(): void {
      for (const socket of sockets.values()) socket.terminate();
      sockets.clear();
    },
  };
}
