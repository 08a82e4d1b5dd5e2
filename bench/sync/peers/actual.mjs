// Actual's timestamps and Merkle tree, and for each message the statements that it runs when messages come, over node:sqlite in a file.
// As Actual does, the tree is pruned and the clock written once for each batch, which is one transaction.
import { DatabaseSync } from "node:sqlite";
import { statSync } from "node:fs";
import { createInterface } from "node:readline";
import { Timestamp, getClock, makeClientId, makeClock, merkle, serializeClock, setClock } from "@actual-app/crdt";

const [path, count, batch] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const memories = [];
for await (const line of createInterface({ input: process.stdin })) memories.push(JSON.parse(line));
const names = Object.keys(memories[0]);
const database = new DatabaseSync(path);
database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
database.exec(`CREATE TABLE memory (id TEXT PRIMARY KEY, ${names.join(", ")}, tombstone INTEGER DEFAULT 0);
  CREATE TABLE messages_crdt (id INTEGER PRIMARY KEY, timestamp TEXT NOT NULL UNIQUE, dataset TEXT NOT NULL, row TEXT NOT NULL,
    column TEXT NOT NULL, value BLOB NOT NULL);
  CREATE INDEX messages_crdt_search ON messages_crdt (dataset, row, column, timestamp);
  CREATE TABLE messages_clock (id INTEGER PRIMARY KEY, clock TEXT);`);
const later = database.prepare(
  "SELECT timestamp FROM messages_crdt WHERE dataset = ? AND row = ? AND column = ? AND timestamp >= ?");
const log = database.prepare("INSERT INTO messages_crdt (timestamp, dataset, row, column, value) VALUES (?, ?, ?, ?, ?)");
const keepClock = database.prepare("INSERT OR REPLACE INTO messages_clock (id, clock) VALUES (1, ?)");
const add = new Map(names.map((name) => [name, database.prepare(`INSERT INTO memory (id, ${name}) VALUES (?, ?)`)]));
const change = new Map(names.map((name) => [name, database.prepare(`UPDATE memory SET ${name} = ? WHERE id = ?`)]));

// Another device made the messages, a minute apart, as it made ours.
setClock(makeClock(new Timestamp(0, 0, makeClientId())));
const author = makeClientId();
const messages = memories.slice(0, count).flatMap((memory, at) => {
  const row = `${at.toString(16).padStart(12, "0")}-0000-4000-8000-000000000000`;
  return names.map((column, place) => ({
    timestamp: new Timestamp(1_767_225_600_000 + at * 61_000, place, author), row, column, value: memory[column],
  }));
});
const serialized = (value) => (typeof value === "number" ? `N:${value}` : `S:${value}`);

const [began, cpu] = [performance.now(), process.cpuUsage()];
for (let from = 0; from < messages.length; from += batch * names.length) {
  const some = messages.slice(from, from + batch * names.length);
  const fresh = some.filter(({ timestamp, row, column }) => !later.all("memory", row, column, timestamp.toString()).length);
  const there = new Set();
  database.exec("BEGIN");
  let tree = getClock().merkle;
  for (const { timestamp, row, column, value } of fresh) {
    if (there.has(row)) change.get(column).run(value, row);
    else add.get(column).run(row, value);
    there.add(row);
    log.run(timestamp.toString(), "memory", row, column, serialized(value));
    tree = merkle.insert(tree, timestamp);
  }
  tree = merkle.prune(tree);
  keepClock.run(serializeClock({ ...getClock(), merkle: tree }));
  database.exec("COMMIT");
  getClock().merkle = tree;
}
const seconds = (performance.now() - began) / 1000;
const used = process.cpuUsage(cpu);
const kept = database.prepare("SELECT count(*) AS number FROM memory WHERE text IS NOT NULL").get().number;
database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
console.log(JSON.stringify({
  memories: kept, apply_per_s: Math.round(kept / seconds), apply_per_cpu_s: Math.round((kept * 1e6) / (used.user + used.system)),
  disk_bytes: Math.round(statSync(path).size / kept),
}));
