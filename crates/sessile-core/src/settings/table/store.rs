//! Settings of where sessions are kept.

use super::{expect, identifier, in_ms, in_ms_or_none, shown};
use crate::TableKind;
use crate::settings::declared::{Declared, Kind};
use crate::settings::parse::{is_url, without_password};

pub(super) static DECLARED: [Declared; 13] = [
    Declared {
        path: "database.url",
        variable: "DATABASE_URL",
        kind: Kind::Text("a URL", |values, text| {
            expect(
                is_url(text),
                "a URL like postgres://user:password@host:5432/database, redis://host:6379 or sqlite:PATH",
            )?;
            values.database_url = Some(text.into());
            Ok(())
        }),
        help: "The database that holds the sessions: `postgres://user:password@host:5432/database`, or `sqlite:PATH` for a file.",
        example: r#""postgres://app:password@localhost:5432/app""#,
        secret: true,
        show: |values| shown(&values.database_url.as_deref().map(without_password), "not set"),
    },
    Declared {
        path: "pool.max",
        variable: "POOL_MAX",
        kind: Kind::Count(|values, connections| values.pool.max = connections),
        help: "The most connections that writes use at once. On PostgreSQL the reads of all requests share two more.",
        example: "10",
        secret: false,
        show: |values| values.pool.max.to_string(),
    },
    Declared {
        path: "pool.idle_timeout",
        variable: "POOL_IDLE_TIMEOUT",
        kind: Kind::Milliseconds(|values, span| values.pool.idle_timeout = span),
        help: "How long an unused connection stays open, in milliseconds.",
        example: "30000",
        secret: false,
        show: |values| in_ms(values.pool.idle_timeout),
    },
    Declared {
        path: "pool.connect_timeout",
        variable: "POOL_CONNECT_TIMEOUT",
        kind: Kind::Milliseconds(|values, span| values.pool.connect_timeout = span),
        help: "How long a connection may take to open, in milliseconds.",
        example: "2000",
        secret: false,
        show: |values| in_ms(values.pool.connect_timeout),
    },
    Declared {
        path: "table.name",
        variable: "SESSION_TABLE",
        kind: Kind::Text("a table's name", |values, text| identifier(text, values.table.get_or_insert_default())),
        help: "The table that holds the sessions. `schema.table` sets `table.schema` too. Not set: `session`, or `sessions` \
               where `table.kind` is `columns`.",
        example: r#""session""#,
        secret: false,
        show: |values| values.table().to_owned(),
    },
    Declared {
        path: "table.schema",
        variable: "SESSION_SCHEMA",
        kind: Kind::Text("a schema's name", |values, text| identifier(text, values.schema.get_or_insert_default())),
        help: "The schema of the table. Not set: the first of the connection's `search_path`.",
        example: r#""public""#,
        secret: false,
        show: |values| shown(&values.schema, "not set"),
    },
    Declared {
        path: "table.kind",
        variable: "SESSION_TABLE_KIND",
        kind: Kind::Word(&["express", "columns"], |values, word| {
            values.table_kind = Some(if word == "columns" { TableKind::Columns } else { TableKind::Express });
        }),
        help: "What the table is like: `express` has connect-pg-simple's columns `sid`, `sess` and `expire`; `columns` \
               has `id`, `user_id`, `values`, `created_at` and `expires_at`, as services in Go keep sessions. Not set: \
               as it is found, and `express` when it is made.",
        example: r#""express""#,
        secret: false,
        show: |values| {
            match values.table_kind {
                None => "not set",
                Some(TableKind::Express) => "express",
                Some(TableKind::Columns) => "columns",
            }
            .into()
        },
    },
    Declared {
        path: "table.registry",
        variable: "SESSION_REGISTRY",
        kind: Kind::Text("a table's name", |values, text| identifier(text, values.registry.get_or_insert_default())),
        help: "The table that records who is signed in where, in the same schema. Not set: `sessions` beside a table \
               called `session`, else the table's name and `_registry`.",
        example: r#""sessions""#,
        secret: false,
        show: |values| shown(&values.registry, "not set"),
    },
    Declared {
        path: "redis.prefix",
        variable: "REDIS_PREFIX",
        kind: Kind::Text("the beginning of names", |values, text| {
            expect(!text.is_empty() && !text.contains(['{', '}']), "the beginning of names, without braces")?;
            values.redis.prefix = text.to_owned();
            Ok(())
        }),
        help: "What the names of all keys begin with on Redis and Valkey. Stores with different ones know nothing of each \
               other.",
        example: r#""sessile:""#,
        secret: false,
        show: |values| values.redis.prefix.clone(),
    },
    Declared {
        path: "redis.wait_replicas",
        variable: "REDIS_WAIT_REPLICAS",
        kind: Kind::CountOrNone(|values, count| values.redis.wait_replicas = count),
        help: "How many replicas must have a sign-out or a revocation before it is answered; 503 when they do not have it \
               within `redis.wait_timeout`. Without it, what was acknowledged in a server's last moments may be unknown \
               to the replica that takes over.",
        example: "1",
        secret: false,
        show: |values| shown(&values.redis.wait_replicas, "none"),
    },
    Declared {
        path: "redis.wait_timeout",
        variable: "REDIS_WAIT_TIMEOUT",
        kind: Kind::Milliseconds(|values, span| values.redis.wait_timeout = span),
        help: "How long to wait for the replicas of `redis.wait_replicas`, in milliseconds.",
        example: "500",
        secret: false,
        show: |values| in_ms(values.redis.wait_timeout),
    },
    Declared {
        path: "redis.allow_eviction",
        variable: "REDIS_ALLOW_EVICTION",
        kind: Kind::Word(&["true", "false"], |values, word| values.redis.allow_eviction = word == "true"),
        help: "Whether to use a server that throws keys away when its memory is full: it signs users out at random, and may \
               forget that a session was ended before it forgets the session.",
        example: "false",
        secret: false,
        show: |values| values.redis.allow_eviction.to_string(),
    },
    Declared {
        path: "sweep.interval",
        variable: "SWEEP_INTERVAL",
        kind: Kind::MillisecondsOrNone(|values, span| values.sweep_interval = span),
        help: "How often expired sessions are removed, in milliseconds, give or take a fifth. `none` when something \
               else removes them.",
        example: "60000",
        secret: false,
        show: |values| in_ms_or_none(values.sweep_interval),
    },
];
