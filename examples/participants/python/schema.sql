PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL; -- what is committed survives a power cut: a vote has to

CREATE TABLE IF NOT EXISTS stock (
    item      TEXT PRIMARY KEY,
    available INTEGER NOT NULL CHECK (available >= 0)
);
INSERT OR IGNORE INTO stock VALUES ('book', 100000);

-- One row for each branch: prepared, committed or rolled_back. What is reserved
-- stands in the prepared ones.
CREATE TABLE IF NOT EXISTS branch (
    xid         TEXT PRIMARY KEY,
    log         TEXT    NOT NULL,
    incarnation INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('prepared', 'committed', 'rolled_back')),
    item        TEXT,
    amount      INTEGER,
    prepared_at TEXT
);
CREATE INDEX IF NOT EXISTS branch_order ON branch (log, incarnation, seq);

-- Below it, of each coordinator's log, everything is finished and rows may be gone.
CREATE TABLE IF NOT EXISTS low_water (
    log         TEXT PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    seq         INTEGER NOT NULL
);
