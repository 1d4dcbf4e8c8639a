//! The catalogue service: products and their search, behind a cache.
//!
//! In: `GET /products?q=TERMS`, `POST /caches/clear`. Out: a [`Listing`] as JSON. Search results are cached
//! in memory and in files; the products they are made from are read again from the database when they are
//! older than [`PRODUCTS_TTL`]. While the breaker to the database is open the last products known serve.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::ServiceError;
use super::answer::{Answer, Request};
use super::cache::Cache;
use super::call::{CallError, Dependency};
use super::database::{Product, Query};
use super::edition::Edition;
use super::search::search;
use super::server::Application;
use super::settings::{Settings, dependency};

/// A search result may be this old: long enough to spare the processor, short enough that a cold cache is
/// felt.
const SEARCH_TTL: Duration = Duration::from_secs(10);
/// Prices may be this old.
const PRODUCTS_TTL: Duration = Duration::from_secs(2);
/// The cache's key of the products themselves; a search is cached under `q=` and its terms.
const PRODUCTS_KEY: &str = "products";
/// Longer queries are cut: nobody searches for more, and keys should stay small.
const QUERY_CHARS_MAX: usize = 64;

/// Products found.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listing {
    /// Best first.
    pub(super) products: Vec<Product>,
    /// Made from products that could not be refreshed.
    pub(super) stale: bool,
}

/// The service.
pub(super) struct Catalogue {
    edition: Edition,
    database: Dependency,
    cache: Cache,
    /// Locked across the refresh, so that one request refreshes and the others wait for it.
    products: Mutex<Option<Known>>,
}

struct Known {
    products: Arc<Vec<Product>>,
    read: Instant,
}

impl Catalogue {
    /// The service with its cache in the volume.
    pub(super) fn new(settings: &Settings, edition: Edition) -> Result<Self, ServiceError> {
        Ok(Self {
            edition,
            database: dependency("database")?,
            cache: Cache::new(settings.volume.join("cache")),
            products: Mutex::new(None),
        })
    }

    async fn listing(&self, query: &str) -> Result<Answer, CallError> {
        let query: String = query.trim().to_lowercase().chars().take(QUERY_CHARS_MAX).collect();
        let material = match self.edition.material(&query) {
            Ok(material) => material,
            Err(error) => return Ok(Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())),
        };
        let key = format!("q={query}");
        if let Some(body) = self.cache.fresh(&key, SEARCH_TTL) {
            return Ok(Answer::json_bytes(body));
        }
        let (products, stale) = match self.products().await {
            Ok(products) => (products, false),
            Err(CallError::BreakerOpen) => (self.last_products().await.ok_or(CallError::BreakerOpen)?, true),
            Err(other) => return Err(other),
        };
        let mut found: Vec<Product> = search(&products, &query).into_iter().cloned().collect();
        if let Some(material) = material {
            found.sort_by_key(|product| !product.name.to_lowercase().contains(material));
        }
        let body = serde_json::to_vec(&Listing { products: found, stale })
            .map_err(|error| CallError::Unreadable(error.to_string()))?;
        let body = Bytes::from(body);
        if !stale {
            self.cache.put(&key, body.clone());
        }
        Ok(Answer::json_bytes(body))
    }

    /// The products, from the database when those known are too old.
    async fn products(&self) -> Result<Arc<Vec<Product>>, CallError> {
        let mut known = self.products.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.read.elapsed() < PRODUCTS_TTL) {
            return Ok(Arc::clone(&known.products));
        }
        let products: Vec<Product> = self.database.post("/query", &Query::Products).await?;
        if known.as_ref().is_none_or(|known| *known.products != products)
            && let Ok(body) = serde_json::to_vec(&products)
        {
            self.cache.put(PRODUCTS_KEY, body.into());
        }
        let products = Arc::new(products);
        *known = Some(Known { products: Arc::clone(&products), read: Instant::now() });
        Ok(products)
    }

    /// The products last read, by this process or by one before it.
    async fn last_products(&self) -> Option<Arc<Vec<Product>>> {
        if let Some(known) = self.products.lock().await.as_ref() {
            return Some(Arc::clone(&known.products));
        }
        serde_json::from_slice(&self.cache.any(PRODUCTS_KEY)?).ok().map(Arc::new)
    }

    async fn clear_caches(&self) -> Answer {
        *self.products.lock().await = None;
        match self.cache.clear() {
            Ok(removed) => Answer::json(&serde_json::json!({ "removed_files": removed })),
            Err(error) => Answer::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("cannot empty the cache directory: {error}"),
            ),
        }
    }
}

impl Application for Catalogue {
    async fn answer(&self, request: Request) -> Answer {
        match (&request.method, request.path.as_str()) {
            (&Method::GET, "/products") => {
                let query = request.field("q").unwrap_or_default();
                self.listing(&query).await.unwrap_or_else(Answer::from)
            }
            (&Method::POST, "/caches/clear") => self.clear_caches().await,
            _ => Answer::not_found(),
        }
    }
}
