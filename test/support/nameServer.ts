import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { type Answer, decode, encode, type Packet, type Question, streamDecode, streamEncode } from "dns-packet";

/** What a name server says of a name: records, an error, that TCP has to be asked, or nothing at all. */
export type Said = Answer[] | "NXDOMAIN" | "SERVFAIL" | "TRUNCATED" | "SILENCE";

const codes = { NXDOMAIN: 3, SERVFAIL: 2 };

/** A name server on this machine, by UDP and TCP. @param say also of a truncated answer, when TCP asks */
export async function startNameServer(say: (question: Question, over: "udp" | "tcp") => Said) {
  const asked: string[] = [];
  const answer = (packet: Packet, over: "udp" | "tcp"): Packet | undefined => {
    const [question] = packet.questions ?? [];
    if (question === undefined) return undefined;
    asked.push(`${question.type} ${question.name}`);
    const said = say(question, over);
    if (said === "SILENCE") return undefined;
    const common = { type: "response" as const, id: packet.id ?? 0, questions: [question] };
    if (said === "TRUNCATED") return { ...common, flags: 0x0200 };
    // Recursion is available.
    if (Array.isArray(said)) return { ...common, flags: 0x0080, answers: said };
    return { ...common, flags: 0x0080 | codes[said] };
  };
  const udp = createSocket("udp4");
  udp.on("message", (message, { port, address }) => {
    const said = answer(decode(message), "udp");
    if (said !== undefined) udp.send(encode(said), port, address);
  });
  udp.bind(0, "127.0.0.1");
  await once(udp, "listening");
  const { port } = udp.address();
  const sockets = new Set<Socket>();
  const tcp = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (data) => {
      const said = answer(streamDecode(data), "tcp");
      if (said !== undefined) socket.write(streamEncode(said));
    });
  });
  tcp.listen(port, "127.0.0.1");
  await once(tcp, "listening");
  return {
    address: `127.0.0.1:${port}`,
    asked,
    close() {
      udp.close();
      for (const socket of sockets) socket.destroy();
      tcp.close();
    },
  };
}
