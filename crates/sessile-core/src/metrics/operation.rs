//! What a store can be asked, and how it can answer, each as one word. The words are labels, so both sets are closed.

use crate::registry::SignedIn;
use crate::store::Written;
use crate::{Alignment, Error};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant,)* }

        impl $name {
            pub(crate) const ALL: [Self; [$($word,)*].len()] = [$(Self::$variant,)*];
            pub(crate) const WORDS: [&'static str; Self::ALL.len()] = [$($word,)*];

            pub(crate) const fn as_str(self) -> &'static str {
                Self::WORDS[self as usize]
            }
        }
    };
}

words! {
    /// A call of a store.
    Operation {
        Load "load",
        Insert "insert",
        Update "update",
        Rotate "rotate",
        Touch "touch",
        Remove "remove",
        Fate "fate",
        Time "time",
        Sweep "sweep",
        SignIn "sign_in",
        Align "align",
        Seen "seen",
        List "list",
        Find "find",
        History "history",
        Search "search",
        Key "key",
        Revoke "revoke",
        RevokeAll "revoke_all",
        RevokeProviderSession "revoke_provider_session",
        RevokeEveryone "revoke_everyone",
        Tidy "tidy",
        Stats "stats",
        Examine "examine",
        Operators "operators",
        Transfer "transfer",
    }
}

words! {
    /// How a call ended.
    Outcome {
        Done "done",
        None "none",
        Gone "gone",
        Stale "stale",
        Refused "refused",
        Unavailable "unavailable",
        Failed "failed",
    }
}

/// What an answer of a store counts as.
pub(super) trait Answer {
    fn outcome(&self) -> Outcome;
}

impl<T: Answer> Answer for Result<T, Error> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(answer) => answer.outcome(),
            Err(error) if error.is_unavailable() => Outcome::Unavailable,
            Err(_) => Outcome::Failed,
        }
    }
}

impl<T> Answer for Option<T> {
    fn outcome(&self) -> Outcome {
        if self.is_some() { Outcome::Done } else { Outcome::None }
    }
}

impl Answer for bool {
    fn outcome(&self) -> Outcome {
        if *self { Outcome::Done } else { Outcome::None }
    }
}

impl Answer for Written {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Done => Outcome::Done,
            Self::Gone => Outcome::Gone,
            Self::Stale => Outcome::Stale,
        }
    }
}

impl Answer for SignedIn {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Done(_) => Outcome::Done,
            Self::Gone => Outcome::Gone,
            Self::Stale => Outcome::Stale,
            Self::CutOff | Self::Full => Outcome::Refused,
        }
    }
}

impl Answer for Alignment {
    fn outcome(&self) -> Outcome {
        if *self == Self::Over { Outcome::Gone } else { Outcome::Done }
    }
}

/// What is done when it answers at all.
macro_rules! always_done {
    ($($type:ty),* $(,)?) => {
        $(impl Answer for $type {
            fn outcome(&self) -> Outcome {
                Outcome::Done
            }
        })*
    };
}
always_done!((), u64, crate::Swept, crate::Tidied, crate::StoreStats, crate::Imported);

impl<T> Answer for Vec<T> {
    fn outcome(&self) -> Outcome {
        Outcome::Done
    }
}

impl<T, U> Answer for (Vec<T>, U) {
    fn outcome(&self) -> Outcome {
        Outcome::Done
    }
}
