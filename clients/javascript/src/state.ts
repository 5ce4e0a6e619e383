import { readFile, writeFile } from "node:fs/promises";
import type { Credentials } from "./credentials.js";
import { type Json, SNAPSHOT_TYPE, type Transport, segment } from "./transport.js";

interface SnapshotRow {
  name: string;
  takenAt: string;
  rows: Record<string, number>;
  bytes: number;
}

/** A snapshot of an account's resources, in the memory of the server. */
export class Snapshot {
  constructor(
    private readonly transport: Transport,
    private readonly row: SnapshotRow,
  ) {}

  get name(): string {
    return this.row.name;
  }

  /** The number of rows by table. */
  get rows(): Record<string, number> {
    return this.row.rows;
  }

  /** Restores the snapshot: the account's resources are afterwards those of the snapshot. */
  async restore(): Promise<Record<string, number>> {
    const answer = await this.transport.call<{ restored: Record<string, number> }>("POST", `/snapshots/${segment(this.name)}/restore`);
    return answer.restored;
  }

  /** Saves the snapshot to a file, which `Snapshots.load` reads. */
  async save(path: string): Promise<void> {
    const response = await this.transport.send("GET", `/snapshots/${segment(this.name)}`, "", "");
    await writeFile(path, Buffer.from(await response.arrayBuffer()));
  }

  async delete(): Promise<void> {
    await this.transport.call("DELETE", `/snapshots/${segment(this.name)}`);
  }
}

/** The snapshots of an account. */
export class Snapshots {
  constructor(private readonly transport: Transport) {}

  /** Takes a snapshot; one of the same name is replaced. */
  async take(name: string): Promise<Snapshot> {
    return new Snapshot(this.transport, await this.transport.call<SnapshotRow>("PUT", `/snapshots/${segment(name)}`));
  }

  /** Uploads a file; `restore` it afterwards. */
  async load(path: string, name: string): Promise<Snapshot> {
    await this.transport.send("PUT", `/snapshots/${segment(name)}`, await readFile(path), SNAPSHOT_TYPE);
    const found = (await this.list()).find((one) => one.name === name);
    if (!found) throw new Error(`the server has no snapshot '${name}' after its upload`);
    return found;
  }

  async list(): Promise<Snapshot[]> {
    const { snapshots } = await this.transport.call<{ snapshots: SnapshotRow[] }>("GET", "/snapshots");
    return snapshots.map((row) => new Snapshot(this.transport, row));
  }
}

/** A session that a seed has created. */
export interface SeededSession {
  sessionId: string;
  participants: { participantId: string; userId: string }[];
}

interface SeedAnswer {
  stages?: Record<string, { arn: string; sessions?: SeededSession[] }>;
  accessKeys?: Record<string, Credentials>;
  tokens?: { token: string; participantId: string }[];
  [kind: string]: unknown;
}

/** What a seed has created. `document` is the response of the server. */
export class Seeded {
  constructor(readonly document: SeedAnswer) {}

  /** The ARN of a resource, by its name in the seed and its kind, such as `encoderConfigurations`. */
  arn(name: string, kind = "stages"): string {
    return this.named<{ arn: string }>(kind, name).arn;
  }

  /** The sessions of a stage, oldest first. */
  sessions(stage: string): SeededSession[] {
    return this.named<{ sessions?: SeededSession[] }>("stages", stage).sessions ?? [];
  }

  /** The tokens in the order of the seed. */
  get tokens(): { token: string; participantId: string }[] {
    return this.document.tokens ?? [];
  }

  accessKey(name: string): Credentials {
    const { accessKeyId, secretAccessKey } = this.named<Credentials>("accessKeys", name);
    return { accessKeyId, secretAccessKey };
  }

  private named<T>(kind: string, name: string): T {
    const made = (this.document[kind] ?? {}) as Record<string, T>;
    const found = made[name];
    if (found === undefined) throw new Error(`the seed has no ${kind} '${name}', but ${Object.keys(made).join(", ") || "none"}`);
    return found;
  }
}

/** Creates resources: of an object, or of YAML or JSON text. */
export async function seed(transport: Transport, document: Json | string): Promise<Seeded> {
  if (typeof document !== "string") return new Seeded(await transport.call<SeedAnswer>("POST", "/seed", document));
  const response = await transport.send("POST", "/seed", document, "application/yaml");
  return new Seeded((await response.json()) as SeedAnswer);
}
