-- jobs.db as version 1 wrote it. Published: never edited.
PRAGMA auto_vacuum = INCREMENTAL;
BEGIN;
CREATE TABLE runs (
    key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, command TEXT NOT NULL, source BLOB NOT NULL,
    destination BLOB NOT NULL, started_ms INTEGER NOT NULL, pid INTEGER NOT NULL, finished_ms INTEGER,
    state INTEGER, summary TEXT
) STRICT;
CREATE TABLE plans (
    key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, created_ms INTEGER NOT NULL, source BLOB NOT NULL,
    destination BLOB NOT NULL, options BLOB NOT NULL, saved INTEGER NOT NULL, totals BLOB,
    step_count INTEGER NOT NULL, crc INTEGER NOT NULL
) STRICT;
CREATE TABLE steps (
    plan INTEGER NOT NULL, rank INTEGER NOT NULL, seq INTEGER NOT NULL, bytes INTEGER NOT NULL,
    crc INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (plan, rank, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE step_states (
    plan INTEGER NOT NULL, seq INTEGER NOT NULL, state INTEGER NOT NULL, PRIMARY KEY (plan, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO runs VALUES (1, x'09090909090909090909090909090909', 'sync 9', x'2f61ff', x'2f62', 9, 4294967295, 10, 2, '{}');
PRAGMA application_id = 0x4f52424a;
PRAGMA user_version = 1;
COMMIT;
