//! The dashboard as a JSON API, for scripts: the same questions and the same acts as the pages, with an operator's token in
//! `Authorization: Bearer`. It describes itself in OpenAPI, from the handlers' own types; errors are problem details (RFC
//! 9457), lists are paged with cursors.

mod audit;
mod figures;
mod read;
mod revocations;
mod sessions;
mod shapes;
mod time;

use std::sync::Arc;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::routing::get;
use axum::{Json, Router};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, openapi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::state::Dashboard;

/// Where the description is, and where it can be read and tried.
const DESCRIPTION: &str = "/admin/api/openapi.json";
const DOCS: &str = "/admin/api/docs";

/// Swagger UI puts `style` attributes and `data:` images into its page, and nothing else that is not its own.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sessile admin API",
        description = "Sessions of an application: figures, health, search, and ending them. Times are RFC 3339. What changes \
                       something needs an operator with the role admin, and is written into the audit before it is done.",
    ),
    modifiers(&Security),
    security(("token" = []), ("session" = [])),
)]
struct Description;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An operator's token.")).build();
        let session = ApiKeyValue::with_description("sessile-admin", "The dashboard's own session, in a browser.");
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    }
}

/// All routes of the API, its description and the page to read it.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    let (router, description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(figures::overview))
        .routes(routes!(figures::timeline))
        .routes(routes!(figures::checks))
        .routes(routes!(sessions::search))
        .routes(routes!(sessions::open, sessions::end))
        .routes(routes!(sessions::of_user, sessions::end_of_user))
        .routes(routes!(revocations::everyone))
        .routes(routes!(audit::list))
        .split_for_parts();
    let policy = HeaderValue::from_static(DOCS_POLICY);
    let docs = Router::from(SwaggerUi::new(DOCS).config(Config::from(DESCRIPTION).validator_url("none")))
        .layer(SetResponseHeaderLayer::overriding(CONTENT_SECURITY_POLICY, policy));
    router.route(DESCRIPTION, get(async move || Json(description.clone()))).merge(docs)
}
