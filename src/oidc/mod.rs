//! Tokens for OAUTHBEARER from an OpenID Connect provider, or any OAuth 2.0 token endpoint: client credentials (RFC 6749,
//! section 4.4).
//!
//! ```no_run
//! use milena::client::ClientConfig;
//! use milena::oidc::ClientCredentials;
//! use milena::sasl::OAuthBearer;
//!
//! # fn main() -> milena::error::Result<()> {
//! let tokens = ClientCredentials::new("https://idp.example/oauth/token", "orders", "its-secret")?.scope("kafka");
//! let config = ClientConfig::new(["broker:9093"]).sasl(OAuthBearer::new(tokens));
//! # Ok(())
//! # }
//! ```
//!
//! | file | what it is |
//! | --- | --- |
//! | `client_credentials` | the settings, and the provider |
//! | `request` | what is asked |
//! | `answer` | what was answered: a token, or why not and whether to ask again |
//! | `jwt` | what a token says of its own lifetime |
//! | `refresh`, `keeper` | when a token is to be replaced; the one that there is |

#[cfg(feature = "unstable-internals")]
#[doc(hidden)]
pub mod answer;
#[cfg(not(feature = "unstable-internals"))]
mod answer;
mod client_credentials;
#[cfg(feature = "unstable-internals")]
#[doc(hidden)]
pub mod jwt;
#[cfg(not(feature = "unstable-internals"))]
mod jwt;
mod keeper;
mod refresh;
mod request;
#[cfg(test)]
mod tests;

pub use client_credentials::ClientCredentials;
