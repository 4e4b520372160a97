//! `sessile sweep`.

use crate::support::Place;

