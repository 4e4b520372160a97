//! The cart: one key of the session. Two tabs that add at the same time lose nothing, because every change goes through
//! [`Session::update`], which runs it again on what the other one left.

use std::collections::BTreeMap;

use axum::Form;
use axum::http::StatusCode;
use axum::response::{Redirect, Result};
use serde::{Deserialize, Serialize};
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
    product: String,
}

impl CartForm {
    fn product(&self) -> Result<&'static Product> {
        Product::find(&self.product)
            .ok_or_else(|| (StatusCode::UNPROCESSABLE_ENTITY, "there is no such product\n").into())
    }
}

pub(super) async fn add(session: Session, Form(form): Form<CartForm>) -> Result<Redirect> {
    let product = form.product()?;
    let full = of(&session)?.quantity(product) >= MOST;
    change(&session, product, |quantity| (quantity + 1).min(MOST))?;
    if full {
        session.flash("notice", &format!("{MOST} of one thing is the most this shop sells."))?;
    } else {
        session.flash("done", &format!("{} is in your cart.", product.name))?;
    }
    Ok(Redirect::to("/#main"))
}

pub(super) async fn less(session: Session, Form(form): Form<CartForm>) -> Result<Redirect> {
    take_out(&session, form.product()?, |quantity| quantity.saturating_sub(1))
}

pub(super) async fn remove(session: Session, Form(form): Form<CartForm>) -> Result<Redirect> {
    take_out(&session, form.product()?, |_| 0)
}

pub(super) async fn empty(session: Session) -> Result<Redirect> {
    session.remove(KEY)?;
    Ok(Redirect::to("/#cart"))
}

/// A cart that does not have the product stays as it is, so that no session begins with taking something out.
fn take_out(session: &Session, product: &'static Product, to: fn(u32) -> u32) -> Result<Redirect> {
    if of(session)?.quantity(product) > 0 {
        change(session, product, to)?;
    }
    Ok(Redirect::to("/#cart"))
}

fn change(session: &Session, product: &'static Product, to: fn(u32) -> u32) -> Result<(), Error> {
    session.update(KEY, move |cart: Option<Cart>| {
        let mut cart = cart.unwrap_or_default();
        cart.set(product, to(cart.quantity(product)));
        cart
    })?;
    Ok(())
}
