// A shop's stock, as a participant of dtc, without any dependency.
// Run: node participant.mjs stock.log 8001
//
// Node has one thread, and every change here is made in one go: written to an
// append-only file, synced, and only then done in memory and answered. A database
// would be better at it; this shows that none is needed.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";

const [file, port] = process.argv.slice(2);
const rows = new Map(); // xid → {xid, state, item, amount, at}
const lowWater = new Map(); // log → xid
const stock = new Map([["book", 100000]]); // item → how many are neither sold nor reserved

// ---- what survives ----

// apply does what a line of the file says. It sets and never adds, so that a line
// means the same however often it is read.
function apply({ row, low, item, available }) {
  if (item) stock.set(item, available);
  if (row) rows.set(row.xid, row);
  if (low) {
    const at = place(low);
    lowWater.set(at.log, low);
    for (const r of rows.values()) // a prepared row never goes
      if (r.state !== "prepared" && place(r.xid).log === at.log && compare(r.xid, low) < 0) rows.delete(r.xid);
  }
}

// The first start finds nothing. A line that a kill cut off was never answered for.
const lines = fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
lines.forEach((line) => apply(JSON.parse(line)));

// What is still needed goes into a new file, which takes the place of the old one.
const kept = [...[...stock].map(([item, available]) => ({ item, available })), ...[...rows.values()].map((row) => ({ row })),
  ...[...lowWater.values()].map((low) => ({ low }))];
const out = fs.openSync(file + ".new", "w", 0o600);
fs.writeFileSync(out, kept.map((line) => JSON.stringify(line) + "\n").join(""));
fs.fsyncSync(out);
fs.renameSync(file + ".new", file);
const dir = fs.openSync(path.dirname(path.resolve(file)));
fs.fsyncSync(dir);
fs.closeSync(dir);

// save makes changes durable, then does them. If the disk fails nobody knows what is
// on it: the process ends, and the next one reads what is there.
function save(change) {
  try {
    const line = Buffer.from(JSON.stringify(change) + "\n");
    if (fs.writeSync(out, line) !== line.length) throw new Error("short write");
    fs.fsyncSync(out);
  } catch (e) {
    console.error("the disk failed:", e);
    process.exit(1);
  }
  apply(change);
}

// ---- what is promised ----

const refuse = (status, detail) => Object.assign(new Error(detail), { status });

// place reads an XID. XIDs are ordered by incarnation and sequence, as numbers.
function place(xid) {
  const m = /^dtc\.([a-z2-7]{16})\.([0-9]{1,10})-[0-9a-f]{8}\.([0-9]{1,15})$/.exec(xid);
  if (!m) throw refuse(400, "not the xid of a coordinator");
  return { log: m[1], incarnation: Number(m[2]), seq: Number(m[3]) };
}

function compare(a, b) {
  const x = place(a), y = place(b);
  return x.incarnation - y.incarnation || x.seq - y.seq || (a < b ? -1 : a > b ? 1 : 0);
}

function call(verb, q) {
  const { log } = place(q.xid);
  if (q.branch !== "stock") throw refuse(400, "this is the participant stock");
  if (q.low_water && place(q.low_water).log !== log) throw refuse(400, "low_water of another log");
  const row = rows.get(q.xid);
  const before = lowWater.get(log);
  // Nothing is lost if a raised low water is forgotten, as long as the rows are not
  // dropped without it: so it is saved with the rows that it lets go.
  if (q.low_water && (!before || compare(q.low_water, before) > 0)) save({ low: q.low_water });
  const low = lowWater.get(log);
  const below = low && compare(q.xid, low) < 0;
  if (verb === "prepare") return prepare(q, row, below);

  const want = verb === "commit" ? "committed" : "rolled_back";
  if (row?.state === want) return [200, {}];
  if (row?.state === "prepared") {
    const back = verb === "rollback" ? { item: row.item, available: stock.get(row.item) + row.amount } : {};
    save({ row: { ...row, state: want }, ...back });
    return [200, {}];
  }
  if (row) return [409, { state: row.state }];
  if (below) return [200, {}]; // it is over, and how it ended was told long ago
  if (verb === "commit") return [404, { detail: "never prepared here" }]; // never a success: that would hide a lost payment
  save({ row: { xid: q.xid, state: want } }); // a tombstone, which a late prepare will meet
  return [200, {}];
}

function prepare(q, row, below) {
  const { item, amount } = q.payload ?? {};
  if (typeof item !== "string" || !Number.isSafeInteger(amount) || amount < 1) throw refuse(400, 'want a payload like {"item":"book","amount":1}');
  if (row) return [200, { vote: row.state === "rolled_back" ? "vote_abort" : "vote_commit" }]; // the first vote, again
  if (below) return [200, { vote: "vote_abort", reason: "the transaction is over" }];
  const available = stock.get(item) ?? 0;
  if (available < amount) {
    save({ row: { xid: q.xid, state: "rolled_back" } }); // a refusal is kept as well: a vote never changes
    return [200, { vote: "vote_abort", reason: `${available} of ${item} are left` }];
  }
  save({ row: { xid: q.xid, state: "prepared", item, amount, at: new Date().toISOString() }, item, available: available - amount });
  return [200, { vote: "vote_commit" }];
}

// A page goes on after a name, not after a count: rows come and go between two pages.
function inDoubt(query) {
  const log = query.get("log"), after = query.get("after");
  const limit = Math.min(Math.max(Number(query.get("limit")) || 100, 1), 1000);
  const all = [...rows.values()].filter((r) => r.state === "prepared" && place(r.xid).log === log && (!after || compare(r.xid, after) > 0));
  all.sort((a, b) => compare(a.xid, b.xid));
  const page = all.slice(0, limit), complete = all.length <= limit;
  const branches = page.map((r) => ({ xid: r.xid, branch: "stock", prepared_at: r.at }));
  return [200, { branches, next: complete ? null : page.at(-1).xid, complete }];
}

// ---- HTTP ----

const total = (numbers) => numbers.reduce((sum, n) => sum + n, 0);

function route(req, body) {
  const url = new URL(req.url, "http://stock"), verb = /^\/dtc\/(prepare|commit|rollback)$/.exec(url.pathname)?.[1];
  if (req.method === "POST" && verb) {
    let q;
    try {
      q = JSON.parse(body);
    } catch {}
    if (typeof q?.xid !== "string") throw refuse(400, "want a JSON object with tx_id, xid and branch");
    return call(verb, q);
  }
  if (req.method === "GET" && url.pathname === "/dtc/in-doubt") return inDoubt(url.searchParams);
  if (req.method === "GET" && url.pathname === "/stock") {
    const reserved = [...rows.values()].filter((r) => r.state === "prepared").map((r) => r.amount);
    return [200, { available: total([...stock.values()]), reserved: total(reserved) }];
  }
  throw refuse(404, "a participant serves prepare, commit, rollback and in-doubt");
}

const server = http.createServer(async (req, res) => {
  let status, answer;
  try {
    const chunks = [];
    for await (const chunk of req) {
      chunks.push(chunk);
      if (total(chunks.map((c) => c.length)) > 1 << 20) throw refuse(413, "more than 1 MiB");
    }
    [status, answer] = route(req, Buffer.concat(chunks).toString());
  } catch (e) {
    // A 4xx is a definite no, so nothing is held after one. Anything unforeseen is a
    // 500, which says nothing: the call is repeated.
    [status, answer] = [e.status ?? 500, { detail: e.message }];
  }
  res.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
});
server.listen(Number(port), "127.0.0.1", () => console.log(`serving http://127.0.0.1:${server.address().port}/dtc`));
