import assert from "node:assert/strict";
import { isPublicAddress, namesPrivateAddress } from "../../src/net/addresses.ts";

const publicAddresses = [
  "8.8.8.8",
  "1.1.1.1",
  "93.184.216.34",
  "2606:4700:4700::1111",
  "2a00:1450:4001:81b::200e",
  "2a00:1450::5eff:1:2",
];
const otherAddresses = [
  ...[
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.9.9",
  ],
  // Of cloud providers: metadata, platforms and services.
  ...["168.63.129.16", "::ffff:168.63.129.16", "100.100.100.200", "192.0.0.192", "192.80.8.124", "161.26.0.10"],
  ...["166.8.14.5", "fd00:ec2::254", "64:ff9b::a83f:8110", "2002:a83f:8110::1", "2001:0:a83f:8110::1"],
  ...["192.0.0.8", "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "240.0.0.1"],
  ...["255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8.nip.io", "64:ff9b::7f00:1"],
  ...["64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "5f00::1", "fc00::1", "fd12::1", "fe80::1"],
  ...["2a00:1450::5efe:a83f:8110", "2a00:1450::200:5efe:7f00:1"],
  ...["fe80::1%eth0", "fec0::1", "ff02::1", "not an address", ""],
];

describe("isPublicAddress", () => {
  for (const address of publicAddresses) it(`takes ${address}`, () => assert.equal(isPublicAddress(address), true));
  for (const address of otherAddresses) it(`refuses "${address}"`, () => assert.equal(isPublicAddress(address), false));
});

describe("namesPrivateAddress", () => {
  const literal = [
    "127.0.0.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "[::1]",
    "localhost",
    "a.localhost",
    "10.0.0.1.",
  ];
  for (const host of literal) {
    it(`knows ${host}`, () => assert.equal(namesPrivateAddress(new URL(`http://${host}/`)), true));
  }
  for (const host of ["8.8.8.8", "example.com", "[2606:4700:4700::1111]"]) {
    it(`lets ${host} pass`, () => assert.equal(namesPrivateAddress(new URL(`http://${host}/`)), false));
  }
});
