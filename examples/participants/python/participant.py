"""A shop's stock, as a participant of dtc. Run: python3 participant.py stock.db 8001"""
import http, json, pathlib, re, socketserver, sqlite3, sys, threading, urllib.parse, wsgiref.simple_server
db, one_writer = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None, check_same_thread=False), threading.Lock()
db.executescript(pathlib.Path(__file__).with_name("schema.sql").read_text())

def place(xid):  # (log, incarnation, sequence): XIDs are ordered as numbers, never as text
    log, incarnation, seq = re.fullmatch(r"dtc\.([a-z2-7]{16})\.([0-9]{1,10})-[0-9a-f]{8}\.([0-9]{1,18})", xid).groups()
    return log, int(incarnation), int(seq)
def call(verb, xid, low_water, item, amount):  # the work, and the row that says how far it is, in one local transaction
    state, held, count = db.execute("SELECT state, item, amount FROM branch WHERE xid = ?", [xid]).fetchone() or (None, None, 0)
    if low_water:  # stored before the rows below it go
        db.execute("""INSERT INTO low_water VALUES (?, ?, ?) ON CONFLICT (log) DO UPDATE SET incarnation = excluded.incarnation,
            seq = excluded.seq WHERE (excluded.incarnation, excluded.seq) > (incarnation, seq)""", place(low_water))
        db.execute("DELETE FROM branch WHERE log = ? AND (incarnation, seq) < (?, ?) AND state <> 'prepared'", place(low_water))
    below = db.execute("SELECT 1 FROM low_water WHERE log = ? AND (incarnation, seq) > (?, ?)", place(xid)).fetchone()
    add = "INSERT INTO branch VALUES (?, ?, ?, ?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ'))"
    if verb == "prepare":
        if not state and not below:  # the first time: reserve. A refusal is kept as well, because a vote never changes
            enough = "UPDATE stock SET available = available - ?2 WHERE item = ?1 AND available >= ?2"
            state = "prepared" if db.execute(enough, [item, amount]).rowcount else "rolled_back"
            db.execute(add, [xid, *place(xid), state, item, amount])
        return 200, {"vote": "vote_commit" if state in ("prepared", "committed") else "vote_abort"}
    want = "committed" if verb == "commit" else "rolled_back"
    if not state and not below and verb == "commit":
        return 404, {"detail": "never prepared here"}  # never a success: that would hide a lost payment
    if not state and not below:
        db.execute(add, [xid, *place(xid), want, None, None])  # a tombstone, which a late prepare will meet
    if state == "prepared":
        db.execute("UPDATE branch SET state = ? WHERE xid = ?", [want, xid])
        db.execute("UPDATE stock SET available = available + ? WHERE item = ?", [count if verb == "rollback" else 0, held])
    return (409, {"state": state}) if state not in (None, "prepared", want) else (200, {})
def in_doubt(log, limit=100, after=None):  # goes on after a name, not after a count: rows come and go between two pages
    limit, start = min(max(int(limit), 1), 1000), (*place(after)[1:], after) if after else (0, 0, "")
    rows = db.execute("""SELECT xid, prepared_at FROM branch WHERE log = ? AND state = 'prepared' AND (incarnation, seq, xid)
        > (?, ?, ?) ORDER BY incarnation, seq, xid LIMIT ?""", [log, *start, limit + 1]).fetchall()
    page, more = [{"xid": xid, "branch": "stock", "prepared_at": at} for xid, at in rows[:limit]], len(rows) > limit
    return 200, {"branches": page, "next": page[-1]["xid"] if more else None, "complete": not more}
def app(env, start):
    path, body = env["PATH_INFO"].removeprefix("/dtc/"), env["wsgi.input"].read(min(int(env.get("CONTENT_LENGTH") or 0), 1 << 20))
    try:  # what raises is rolled back. Trouble with the database becomes a 500: no answer, so that the call is repeated
        with one_writer, db:
            db.execute("BEGIN IMMEDIATE")
            status, answer = 404, {}
            if env["REQUEST_METHOD"] == "GET" and path == "in-doubt":
                status, answer = in_doubt(**dict(urllib.parse.parse_qsl(env["QUERY_STRING"])))
            if env["REQUEST_METHOD"] == "POST" and path in ("prepare", "commit", "rollback"):
                q = {"payload": {"item": "", "amount": 1}} | json.loads(body)
                item, amount, low_water = str(q["payload"]["item"]), int(q["payload"]["amount"]), q.get("low_water")
                if q["branch"] != "stock" or not 0 < amount < 1 << 31 or low_water and place(low_water)[0] != place(q["xid"])[0]:
                    raise ValueError("another participant's branch, another log's low water, or no amount")
                status, answer = call(path, q["xid"], low_water, item, amount)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as e:
        status, answer = 400, {"detail": f"not understood: {e!r}"}  # to prepare a definite no: nothing is held
    start(f"{status} {http.HTTPStatus(status).phrase}", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    request_queue_size, daemon_threads = 128, True
with wsgiref.simple_server.make_server("127.0.0.1", int(sys.argv[2]), app, Server) as server:
    print(f"serving http://127.0.0.1:{server.server_port}/dtc", flush=True)
    server.serve_forever()
