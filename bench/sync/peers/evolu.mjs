// Evolu's own database worker over node:sqlite in a file: each request is a transaction with a batch of new rows, as the app sends them.
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import * as evolu from "@evolu/common";
import { startDbWorker } from "@evolu/common/local-first";

const [path, count, batch] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const memories = [];
for await (const line of createInterface({ input: process.stdin })) memories.push(JSON.parse(line));
const database = new DatabaseSync(path);
database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
const prepared = new Map();
const driver = {
  exec: ({ sql, parameters }) => {
    if (!prepared.has(sql)) prepared.set(sql, database.prepare(sql));
    const statement = prepared.get(sql);
    if (statement.columns().length) return { rows: statement.all(...parameters), changes: 0 };
    return { rows: [], changes: Number(statement.run(...parameters).changes) };
  },
  export: () => new Uint8Array(),
  [Symbol.dispose]: () => database.close(),
};
const run = evolu.createRun({
  createSqliteDriver: () => async () => evolu.ok(driver),
  createMessagePort: evolu.testCreateMessagePort,
  createBroadcastChannel: evolu.testCreateBroadcastChannel,
  consoleStoreOutputEntry: { subscribe: () => () => {}, get: () => null },
  lockManager: navigator.locks,
});
const worker = evolu.testCreateWorker();
run(startDbWorker(worker.self));
const channel = evolu.testCreateMessageChannel();
let answered;
channel.port2.onMessage = (message) => answered?.(message);
const answer = () => new Promise((resolve) => (answered = resolve));
const started = answer();
worker.postMessage({
  type: "DbWorkerInit", name: "bench", consoleLevel: "silent", memoryOnly: true,
  encryptionKey: randomBytes(32), port: channel.port1.native,
  sqliteSchema: { tables: { memory: new Set(Object.keys(memories[0])) }, indexes: [] },
});
let { clock } = await started;
const bytes = { create: (size) => new Uint8Array(randomBytes(size)) };
const owner = evolu.createAppOwner(evolu.createOwnerSecret({ randomBytes: bytes }));
const ids = memories.map((_, at) => evolu.createIdFromString(`memory ${at}`));

const [began, cpu] = [performance.now(), process.cpuUsage()];
for (let from = 0; from < count; from += batch) {
  const changes = memories.slice(from, Math.min(from + batch, count)).map((values, at) => ({
    ownerId: owner.id, table: "memory", isInsert: true, isDelete: null, id: ids[from + at], values,
  }));
  const done = answer();
  channel.port2.postMessage({
    attemptId: from, clock, now: Date.now(),
    request: { type: "ForEvolu", id: `request ${from}`, message: { type: "Mutate", changes, subscribedQueries: new Set() } },
  });
  clock = (await done).response.message.clock;
}
const seconds = (performance.now() - began) / 1000;
const used = process.cpuUsage(cpu);
const kept = database.prepare("SELECT count(*) AS number FROM memory WHERE text IS NOT NULL").get().number;
database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
console.log(JSON.stringify({
  memories: kept, apply_per_s: Math.round(kept / seconds), apply_per_cpu_s: Math.round((kept * 1e6) / (used.user + used.system)),
  disk_bytes: Math.round(statSync(path).size / kept),
}));
process.exit(0);
