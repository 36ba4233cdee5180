/**
 * The tables of journal.db. The state that a start reads is kept apart from the history that people read: a use is
 * in `sessions` while it lasts, with the number of the row that it will have, and in `history` once it is over.
 */
export const SCHEMA_VERSION = 3;

/** Each release in its turn, and a session may have several: appending costs a quarter of keeping one for each. */
const RELEASES = `CREATE TABLE releases (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL
  );`;

/** Uses that are not over are read in the order of the history. */
const SESSIONS_BY_TIME = "CREATE INDEX sessions_by_time ON sessions (granted_at, history);";

/** What makes this version of the one before, by the version before. */
export const UPGRADES: ReadonlyMap<number, string> = new Map([
  [
    1,
    `${RELEASES}
    INSERT INTO releases (session, n, at) SELECT session, n, at FROM tombstones ORDER BY at;
    DROP TABLE tombstones;
    PRAGMA user_version = 2;`,
  ],
  [
    2,
    `DELETE FROM history WHERE id IN (SELECT history FROM sessions);
    DROP INDEX sessions_of_epoch;
    ${SESSIONS_BY_TIME}
    PRAGMA user_version = 3;`,
  ],
]);

export const SCHEMA = `
  CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL);
  INSERT INTO meta VALUES (1, 0);
  CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE sessions (
    session TEXT PRIMARY KEY, n INTEGER NOT NULL, feature TEXT NOT NULL, version TEXT,
    seats INTEGER NOT NULL, user TEXT NOT NULL, host TEXT NOT NULL, process TEXT,
    life_ms INTEGER NOT NULL, epoch INTEGER NOT NULL, granted_at INTEGER NOT NULL,
    hold_ms INTEGER NOT NULL, history INTEGER NOT NULL
  ) WITHOUT ROWID;
  ${SESSIONS_BY_TIME}
  CREATE TABLE holds (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, feature TEXT NOT NULL, seats INTEGER NOT NULL,
    epoch INTEGER NOT NULL, hold_ms INTEGER NOT NULL
  );
  CREATE INDEX holds_of_session ON holds (session);
  CREATE INDEX holds_of_epoch ON holds (feature, epoch);
  ${RELEASES}
  CREATE TABLE revoked (
    session TEXT PRIMARY KEY, by TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX revoked_by_time ON revoked (at);
  CREATE TABLE history (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, session TEXT NOT NULL, feature TEXT NOT NULL,
    seats INTEGER NOT NULL, user TEXT NOT NULL, host TEXT NOT NULL, process TEXT, granted_at INTEGER,
    ended_at INTEGER, reason TEXT, ended_by TEXT, denied_code TEXT
  );
  CREATE INDEX history_by_time ON history (at, id);
  PRAGMA user_version = ${SCHEMA_VERSION};
`;
