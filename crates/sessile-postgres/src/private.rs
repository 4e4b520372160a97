//! A parameter that nobody prints: the driver logs the parameters of each statement when debug logs are on, and ids and
//! documents must not stand there.

use std::fmt;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type};

/// A value that reaches the server and no log.
pub(crate) struct Private<T>(pub(crate) T);

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

type Done = Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

impl<T: ToSql> ToSql for Private<T> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Done {
        self.0.to_sql(kind, out)
    }

    fn accepts(kind: &Type) -> bool {
        T::accepts(kind)
    }

    fn to_sql_checked(&self, kind: &Type, out: &mut BytesMut) -> Done {
        self.0.to_sql_checked(kind, out)
    }
}
