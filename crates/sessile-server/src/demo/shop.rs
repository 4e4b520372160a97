//! The first page: what this is, the visitor's session as it stands, the shop and the cart.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use sessile_core::{Error, Session};

use super::page::{Frame, page};
use super::stored::Facts;
use super::{DemoInfo, cart};

/// Something to put into the cart.
pub(super) struct Product {
    /// What forms and the cart call it.
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    cents: u64,
    /// The picture: the data of one SVG path in a box of 48 by 48.
    pub(super) drawing: &'static str,
}

/// All there is. What a form names is looked up here, so nothing else gets into a cart.
pub(super) const PRODUCTS: [Product; 6] = [
    Product {
        id: "oak",
        name: "Oak seedling",
        about: "Quercus petraea, the sessile oak. Plant it once.",
        cents: 12_00,
        drawing: "M24 44V15M24 35l-6-5M24 35l6-5M24 26l-5-4M24 26l5-4M24 5c4 0 6 3 5 6 4-1 7 2 6 5-.6 2-2 3-3 3 4 0 6 5 3 8\
                  -2 2-4 2-6 1 1 4-2 7-5 7s-6-3-5-7c-2 1-4 1-6-1-3-3-1-8 3-8-1 0-2.4-1-3-3-1-3 2-6 6-5-1-3 1-6 5-6z",
    },
    Product {
        id: "limpet",
        name: "Limpet magnet",
        about: "Holds two kilograms of notes and never moves.",
        cents: 6_50,
        drawing: "M4 36h40M7 36c4-5 9-17 17-20 8 3 13 15 17 20M24 16v20M24 16c-4 6-6 13-8 20M24 16c4 6 6 13 8 20",
    },
    Product {
        id: "coral",
        name: "Coral lamp",
        about: "Warm light that stays on the desk where it grew.",
        cents: 48_00,
        drawing: "M16 43h16M24 43V25M24 34l-10-8V15M14 22l-7-5v-5M24 30l10-7V12M34 19l6-4V9M24 25l-4-8V7M22 21l5-5v-7",
    },
    Product {
        id: "sponge",
        name: "Bath sponge",
        about: "Sessile all its life, and soft ever after.",
        cents: 9_00,
        drawing: "M11 20h26a5 5 0 0 1 5 5v11a5 5 0 0 1-5 5H11a5 5 0 0 1-5-5V25a5 5 0 0 1 5-5zM14 28h.01M22 26h.01M30 29h.01\
                  M37 26h.01M18 35h.01M26 33h.01M34 36h.01M11 34h.01M17 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM28 12\
                  a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
    },
    Product {
        id: "moss",
        name: "Moss cushion",
        about: "For anyone who means to stay seated.",
        cents: 34_00,
        drawing: "M4 39h40M6 39c0-11 8-19 18-19s18 8 18 19M24 20v-9M24 11l-3-3M24 11l3-3M14 23l-3-7M11 16l-3-1M11 16l1-3\
                  M34 23l3-7M37 16l3-1M37 16l-1-3M16 33h.01M24 29h.01M32 33h.01M24 36h.01",
    },
    Product {
        id: "mug",
        name: "Barnacle mug",
        about: "A grip that no dishwasher has loosened yet.",
        cents: 18_00,
        drawing: "M9 16h24v22a5 5 0 0 1-5 5H14a5 5 0 0 1-5-5zM33 21h4a4 4 0 0 1 4 4v4a4 4 0 0 1-4 4h-4M14 36l2-6h5l2 6z\
                  M17 33h3M24 27l1-4h4l1 4zM16 11c0-3 3-3 3-6M24 11c0-3 3-3 3-6",
    },
];

impl Product {
    /// The product of this id.
    pub(super) fn find(id: &str) -> Option<&'static Self> {
        PRODUCTS.iter().find(|product| product.id == id)
    }
}

/// A product and how many of it are in the cart.
struct Item {
    product: &'static Product,
    quantity: u32,
}

impl Item {
    fn price(&self) -> String {
        euros(self.product.cents)
    }

    fn subtotal(&self) -> String {
        euros(self.cents())
    }

    fn cents(&self) -> u64 {
        self.product.cents.saturating_mul(self.quantity.into())
    }
}

#[derive(Template)]
#[template(path = "demo/home.html")]
struct Home<'a> {
    frame: Frame,
    info: &'a DemoInfo,
    facts: Option<Facts>,
    items: Vec<Item>,
    /// `None` when the cart is empty.
    total: Option<String>,
}

pub(super) async fn home(State(info): State<Arc<DemoInfo>>, session: Session) -> Result<Response, Error> {
    let cart = cart::of(&session)?;
    let items: Vec<_> = PRODUCTS.iter().map(|product| Item { product, quantity: cart.quantity(product) }).collect();
    let cents = items.iter().map(Item::cents).fold(0, u64::saturating_add);
    let total = (cents > 0).then(|| euros(cents));
    let home = Home { facts: Facts::of(&session), frame: Frame::of(&session, "/")?, info: &info, items, total };
    Ok(page(StatusCode::OK, &home))
}

fn euros(cents: u64) -> String {
    format!("€{}.{:02}", cents / 100, cents % 100)
}
