//! The cart: one key of the session. Two tabs that add at the same time lose nothing, because every change goes through
//! [`Session::update`], which runs it again on what the other one left.

use std::collections::BTreeMap;

use axum::Form;
use axum::response::Redirect;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sessile_core::{Error, Session};

use super::shop::Product;

const KEY: &str = "cart";

/// The most of one product.
const MOST: u32 = 9;

/// How many of what.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Cart(BTreeMap<String, u32>);

impl Cart {
    pub(super) fn quantity(&self, product: &Product) -> u32 {
        self.0.get(product.id).copied().unwrap_or(0)
    }

    /// How many things lie in it. Products that are no longer sold do not count.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().filter(|(id, _)| Product::find(id).is_some()).map(|(_, quantity)| u64::from(*quantity)).sum()
    }

    fn set(&mut self, product: &Product, quantity: u32) {
        if quantity == 0 {
            self.0.remove(product.id);
        } else {
            self.0.insert(product.id.to_owned(), quantity);
        }
    }
}

/// The session's cart; an empty one when there is none.
pub(super) fn of(session: &Session) -> Result<Cart, Error> {
    Ok(session.get(KEY)?.unwrap_or_default())
}

#[derive(Deserialize)]
pub(super) struct CartForm {
    #[serde(deserialize_with = "known")]
    product: &'static Product,
}

/// Only what the shop sells gets past the form; the refusal does not repeat what was sent.
fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static Product, D::Error> {
    let id = String::deserialize(deserializer)?;
    Product::find(&id).ok_or_else(|| D::Error::custom("there is no such product"))
}

pub(super) async fn add(session: Session, Form(CartForm { product }): Form<CartForm>) -> Result<Redirect, Error> {
    let full = of(&session)?.quantity(product) >= MOST;
    change(&session, product, one_more)?;
    if full {
        session.flash("notice", &format!("{MOST} of one thing is the most this shop sells."))?;
    } else {
        session.flash("done", &format!("{} is in your cart.", product.name))?;
    }
    Ok(Redirect::to("/"))
}

pub(super) async fn more(session: Session, Form(CartForm { product }): Form<CartForm>) -> Result<Redirect, Error> {
    change(&session, product, one_more)?;
    Ok(Redirect::to("/#cart"))
}

pub(super) async fn less(session: Session, Form(CartForm { product }): Form<CartForm>) -> Result<Redirect, Error> {
    take_out(&session, product, |quantity| quantity.saturating_sub(1))
}

pub(super) async fn remove(session: Session, Form(CartForm { product }): Form<CartForm>) -> Result<Redirect, Error> {
    take_out(&session, product, |_| 0)
}

pub(super) async fn empty(session: Session) -> Result<Redirect, Error> {
    session.remove(KEY)?;
    Ok(Redirect::to("/#cart"))
}

/// A cart that does not have the product stays as it is, so that no session begins with taking something out.
fn take_out(session: &Session, product: &'static Product, to: fn(u32) -> u32) -> Result<Redirect, Error> {
    if of(session)?.quantity(product) > 0 {
        change(session, product, to)?;
    }
    Ok(Redirect::to("/#cart"))
}

fn one_more(quantity: u32) -> u32 {
    quantity.saturating_add(1).min(MOST)
}

fn change(session: &Session, product: &'static Product, to: fn(u32) -> u32) -> Result<(), Error> {
    session.update(KEY, move |cart: Option<Cart>| {
        let mut cart = cart.unwrap_or_default();
        cart.set(product, to(cart.quantity(product)));
        cart
    })?;
    Ok(())
}
