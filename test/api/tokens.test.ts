import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, type GenerateKeyPairResult, generateKeyPair, SignJWT } from "jose";
import { startTestApi, type TestApi } from "./support.ts";

const AUDIENCE = "c3-render";

describe("a token of an OpenID Connect issuer", () => {
  let server: Server;
  let issuer: string;
  let api: TestApi;
  let privateKey: GenerateKeyPairResult["privateKey"];
  let asked: string[] = [];
  let answering = true;

  before(async () => {
    const pair = await generateKeyPair("ES256");
    privateKey = pair.privateKey;
    const jwk = { ...(await exportJWK(pair.publicKey)), kid: "1", alg: "ES256" };
    server = createServer((request, response) => {
      asked.push(request.url ?? "");
      const documents: Record<string, object> = {
        "/tenant/.well-known/openid-configuration": { issuer, jwks_uri: `${issuer}keys` },
        "/tenant/keys": { keys: [jwk] },
      };
      const document = documents[request.url ?? ""];
      response.writeHead(answering && document ? 200 : 500, { "Content-Type": "application/json" });
      response.end(JSON.stringify(document ?? {}));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    // The slash at the end is part of the name that tokens carry.
    issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}/tenant/`;
  });
  beforeEach(async () => {
    asked = [];
    answering = true;
    api = await startTestApi({
      env: {
        OIDC_ISSUER: issuer,
        OIDC_AUDIENCE: AUDIENCE,
        OIDC_ADMIN: "groups=render-admins",
        C3_RENDER_KEYS: JSON.stringify([{ name: "studio", key: "the-api-key-of-studio" }]),
      },
    });
  });
  afterEach(() => api.close());
  after(async () => {
    server.close();
    await once(server, "close");
  });

  const sign = (claims: Record<string, unknown>, key = privateKey, kid = "1") => {
    const now = Math.floor(Date.now() / 1000);
    const payload = { iss: issuer, aud: AUDIENCE, sub: "user-1", exp: now + 300, ...claims };
    return new SignJWT(payload).setProtectedHeader({ alg: "ES256", kid }).sign(key);
  };
  const statusOf = async (token: string, path = "/status/1") =>
    (await fetch(`${api.url}${path}`, { headers: { Authorization: `Bearer ${token}` } })).status;

  it("is taken in place of a key, and the issuer is asked once", async () => {
    const tokens = await Promise.all([sign({}), sign({ sub: "user-2" }), sign({ sub: "user-3" })]);
    assert.deepEqual(await Promise.all(tokens.map((token) => statusOf(token))), [400, 400, 400]);
    assert.deepEqual(asked.sort(), ["/tenant/.well-known/openid-configuration", "/tenant/keys"]);
  });

  it("makes an administrator by the configured claim only", async () => {
    for (const [claims, status] of [
      [{}, 403],
      [{ groups: "users" }, 403],
      [{ groups: ["render-admins-not"] }, 403],
      [{ groups: { "render-admins": true } }, 403],
      [{ groups: ["users", "render-admins"] }, 404],
      [{ groups: "users render-admins" }, 404],
    ] as const) {
      assert.equal(await statusOf(await sign(claims), "/pools/none"), status, JSON.stringify(claims));
    }
  });

  it("is refused when anything about it is not right", async () => {
    const { privateKey: foreignKey } = await generateKeyPair("ES256");
    const past = Math.floor(Date.now() / 1000) - 3600;
    const [header, , signature] = (await sign({})).split(".");
    const otherPayload = Buffer.from(JSON.stringify({ sub: "user-2" })).toString("base64url");
    const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
    const tokens = {
      expired: await sign({ exp: past }),
      "without an end": await sign({ exp: undefined }),
      "not valid yet": await sign({ nbf: Math.floor(Date.now() / 1000) + 3600 }),
      "for somebody else": await sign({ aud: "other-service" }),
      "of another issuer": await sign({ iss: "https://issuer.example/" }),
      "without a subject": await sign({ sub: undefined }),
      "with an empty subject": await sign({ sub: "" }),
      "with a subject that cannot be searched for": await sign({ sub: 'a"b' }),
      "with a subject that is no text": await sign({ sub: "a\ud800" }),
      "called like the tenant of a key": await sign({ sub: "studio" }),
      "called like the tenant of the single key": await sign({ sub: "default" }),
      "signed by somebody else": await sign({}, foreignKey),
      "signed with a key that is not known": await sign({}, privateKey, "2"),
      changed: `${header}.${otherPayload}.${signature}`,
      "not signed": `${none}.${otherPayload}.`,
      "not a token": "a.b.c",
    };
    for (const [title, token] of Object.entries(tokens)) assert.equal(await statusOf(token), 401, title);
  });

  it("is answered with 503 while the issuer cannot be reached, and taken again afterwards", async () => {
    answering = false;
    const response = await fetch(`${api.url}/status/1`, { headers: { Authorization: `Bearer ${await sign({})}` } });
    assert.equal(response.status, 503);
    assert.ok(response.headers.get("Retry-After"));
    assert.equal(((await response.json()) as { code: string }).code, "issuer_unavailable");
    assert.equal(await statusOf("the-api-key-of-studio"), 400, "keys need no issuer");
    answering = true;
    assert.equal(await statusOf(await sign({})), 400);
  });
});
