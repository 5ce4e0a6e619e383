import { randomInt } from "node:crypto";

/** An access key, as the AWS SDK has it. */
export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
}

/** The development key of an account: its number, and the secret `test`. Accepted on loopback addresses only. */
export function developmentKey(account: string): Credentials {
  return { accessKeyId: account, secretAccessKey: "test" };
}

/** A random account number of 12 digits. */
export function randomAccount(): string {
  return String(randomInt(100_000, 1_000_000)) + String(randomInt(0, 1_000_000)).padStart(6, "0");
}
