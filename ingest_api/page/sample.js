// Made-up leads. Nobody has these addresses and numbers: example.com is reserved, and +999 no country's.

const FIRST = "Ada Grace Alan Katherine Edsger Barbara Dennis Radia Ken Frances".split(" ");
const LAST = "Lovelace Hopper Turing Johnson Dijkstra Liskov Ritchie Perlman Thompson Allen".split(" ");

const below = (limit) => Math.floor(Math.random() * limit);
const digits = (length) => Array.from({ length }, () => below(10)).join("");

export const samplePhone = () => `+999${digits(11)}`;

export function sampleLead(phone = samplePhone()) {
  const [firstName, lastName] = [FIRST[below(FIRST.length)], LAST[below(LAST.length)]];
  return {
    firstName,
    lastName,
    email: `${firstName}.${lastName}.${digits(6)}@example.com`.toLowerCase(),
    phone,
    dateOfBirth: `${1950 + below(50)}-0${1 + below(9)}-${10 + below(19)}`,
    additionalData: { campaign: "try it" },
  };
}
