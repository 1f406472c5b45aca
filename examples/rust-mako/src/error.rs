//! Which errors are transient.

use std::{error::Error, io};

use deadpool_postgres::PoolError;
use mako_engine::error::EngineError;
use tokio_postgres::error::DbError;

pub(crate) fn of_pool(error: &PoolError) -> EngineError {
    match error {
        PoolError::Backend(error) => of_server(error),
        _ => EngineError::Snapshot {
            message: error.to_string(),
            transient: matches!(error, PoolError::Timeout(_)),
        },
    }
}

/// Of a statement, of its connection, or of a value that cannot be converted.
pub(crate) fn of_server(error: &tokio_postgres::Error) -> EngineError {
    let Some(server) = error.as_db_error() else {
        let cause = error.source();
        return EngineError::Snapshot {
            message: error.to_string(),
            transient: error.is_closed() || cause.is_some_and(|cause| cause.is::<io::Error>()),
        };
    };
    let mut message = format!("{} (SQLSTATE {})", server.message(), server.code().code());
    if let Some(detail) = server.detail() {
        message = format!("{message}: {detail}");
    }
    EngineError::Snapshot {
        message,
        transient: may_succeed_if_repeated(server) || wants_new_session(error),
    }
}

fn may_succeed_if_repeated(error: &DbError) -> bool {
    match error.code().code() {
        // Another transaction; the table's key, while it is built anew.
        "40001" | "40P01" => true,
        "23505" => error
            .constraint()
            .is_some_and(|name| name.contains("_ccnew") || name.contains("_ccold")),
        // A time-out or a cancellation; a server that shuts down or starts.
        "25P03" | "25P04" | "55P03" | "57014" | "57P01" | "57P02" | "57P03" | "57P05" => true,
        // The connection; no room for it, in memory or on disk.
        code => code.starts_with("08") || code.starts_with("53"),
    }
}

/// Has the session a library older than the extension, which was updated meanwhile? Others have these
/// SQLSTATEs, too; messages may be translated; so the function tells that has raised it.
pub(crate) fn wants_new_session(error: &tokio_postgres::Error) -> bool {
    let server = error.as_db_error();
    matches!(
        server.map(|server| (server.code().code(), server.routine())),
        Some(
            ("42883", Some("load_external_function")) | ("55000", Some("check_extension_version"))
        )
    )
}
