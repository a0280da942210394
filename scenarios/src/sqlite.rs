//! A database instead of a file: SQLite, bundled, with a rollback journal or a write-ahead log.
//! Source: the atomic-writes note ("sqlite gives you real transactions").
//!
//! A register is one row, a set is a table. Updates run in `BEGIN IMMEDIATE`, so that two of them
//! never read the same state. Somebody else's transaction is waited for as long as the client has
//! patience; after that the operation failed, and was not applied. `synchronous` is the setting
//! under which a commit survives power loss: FULL for the write-ahead log, EXTRA for the rollback
//! journal, whose deletion is the commit and is durable only when the directory is synced.
//!
//! Error codes of `COMMIT` other than "busy" leave the outcome open. A killed client may leave a
//! journal, which the next one rolls back, so no-residue is not promised under kill. Not covered:
//! network file systems; corruption from outside.

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tearproof_core::claim::Claim;
use tearproof_core::object::Object;
use tearproof_core::set::SetDocument;
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy, StrategyError, StrategyInfo};

use crate::calls::name;
use crate::protocol::{DOCUMENTS, claims, parse_set};

/// Strategy `sqlite-rollback`.
pub(crate) static SQLITE_ROLLBACK: Sqlite =
    Sqlite { info: &SQLITE_ROLLBACK_INFO, journal: "DELETE", synchronous: "EXTRA" };
/// Strategy `sqlite-wal`.
pub(crate) static SQLITE_WAL: Sqlite = Sqlite { info: &SQLITE_WAL_INFO, journal: "WAL", synchronous: "FULL" };

/// The strategy, with its two settings.
#[derive(Debug)]
pub(crate) struct Sqlite {
    info: &'static StrategyInfo,
    journal: &'static str,
    synchronous: &'static str,
}

const EVERYTHING: &[Claim] = claims![
    AtomicReads: Concurrency Pause Kill PowerLoss;
    NoLostUpdates: Concurrency Pause Kill;
    Linearizable: Concurrency Kill;
    Progress: Concurrency Kill;
    Durability: Kill PowerLoss;
    ErrorsReported: IoError;
    NoResidue: Concurrency;
    MetadataKept: Concurrency;
];

static SQLITE_ROLLBACK_INFO: StrategyInfo = StrategyInfo {
    name: "sqlite-rollback",
    algorithm: "SQLite with journal_mode=DELETE and synchronous=EXTRA, updates in BEGIN IMMEDIATE",
    claims: EVERYTHING,
    source: "the atomic-writes note; SQLite, bundled",
    objects: DOCUMENTS,
    broken: false,
    timed: true,
};

static SQLITE_WAL_INFO: StrategyInfo = StrategyInfo {
    name: "sqlite-wal",
    algorithm: "SQLite with journal_mode=WAL and synchronous=FULL, updates in BEGIN IMMEDIATE",
    claims: EVERYTHING,
    source: "the atomic-writes note; SQLite, bundled",
    objects: DOCUMENTS,
    broken: false,
    timed: true,
};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS register (id INTEGER PRIMARY KEY CHECK (id = 0), document BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS elements (position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
";

impl Sqlite {
    fn connect(&self, at: &ClientContext) -> Result<Connection, StrategyError> {
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&at.file)?;
            connection.busy_timeout(at.patience)?;
            connection.pragma_update(None, "synchronous", self.synchronous)?;
            Ok(connection)
        };
        open().map_err(|error| failed(at, "open", &error))
    }
}

impl Strategy for Sqlite {
    fn info(&self) -> &'static StrategyInfo {
        self.info
    }

    fn prepare(&self, context: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        let connection = self.connect(context)?;
        let lay_down = || -> rusqlite::Result<()> {
            connection.pragma_update(None, "journal_mode", self.journal)?;
            connection.execute_batch(SCHEMA)
        };
        lay_down().map_err(|error| failed(context, "prepare", &error))?;
        let mut session = Session { at: context.clone(), connection };
        match (context.object, document) {
            (_, None) => Ok(()),
            // A file without a byte holds no set that could be parsed: the table stays empty.
            (Object::Set, Some([])) => Ok(()),
            (Object::Set, Some(document)) => {
                parse_set(context, document)?.elements.iter().try_for_each(|element| session.update(element))
            }
            (_, Some(document)) => session.write(document),
        }
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        Ok(Box::new(Session { at: context.clone(), connection: self.connect(context)? }))
    }

    fn keeps(&self, context: &ClientContext, name: &str) -> bool {
        // SQLite removes the log and its index with the last connection that is closed in order.
        ["-journal", "-wal", "-shm"]
            .iter()
            .any(|suffix| context.sibling(suffix).file_name().is_some_and(|kept| kept == name))
    }
}

struct Session {
    at: ClientContext,
    connection: Connection,
}

impl Session {
    /// Runs one statement in a transaction that takes the write lock at its start.
    fn commit(&mut self, statement: &str, value: &dyn rusqlite::ToSql) -> Result<(), StrategyError> {
        let connection = &self.connection;
        let changed = connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            connection.prepare_cached(statement).and_then(|mut prepared| prepared.execute(params![value]))
        });
        if let Err(error) = changed {
            self.roll_back();
            return Err(failed(&self.at, "transaction", &error));
        }
        connection.execute_batch("COMMIT").map_err(|error| {
            self.roll_back();
            let failure = failed(&self.at, "commit", &error);
            if is_busy(&error) { failure } else { failure.now_unknown() }
        })
    }

    /// Ends a transaction that did not come to its end; there may be none.
    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

impl Client for Session {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        into.clear();
        let read = || -> rusqlite::Result<Option<Vec<u8>>> {
            if self.at.object == Object::Set {
                let mut query =
                    self.connection.prepare_cached("SELECT name FROM elements ORDER BY position")?;
                let elements = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
                Ok(Some(SetDocument { elements, count: None }.render(self.at.format)))
            } else {
                let mut query =
                    self.connection.prepare_cached("SELECT document FROM register WHERE id = 0")?;
                query.query_row([], |row| row.get(0)).optional()
            }
        };
        Ok(match read().map_err(|error| failed(&self.at, "select", &error))? {
            Some(document) => {
                *into = document;
                Found::Present
            }
            None => Found::Absent,
        })
    }

    fn write(&mut self, document: &[u8]) -> Result<(), StrategyError> {
        self.commit(
            "INSERT INTO register (id, document) VALUES (0, ?1)
             ON CONFLICT (id) DO UPDATE SET document = excluded.document",
            &document,
        )
    }

    fn update(&mut self, element: &str) -> Result<(), StrategyError> {
        self.commit("INSERT OR IGNORE INTO elements (name) VALUES (?1)", &element)
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn failed(at: &ClientContext, what: &str, error: &rusqlite::Error) -> StrategyError {
    let message = format!("{what} {}: {error}", name(&at.file));
    if is_busy(error) { StrategyError::busy(message) } else { StrategyError::failed(message) }
}
