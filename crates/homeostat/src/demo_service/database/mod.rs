//! The database service: a real SQL engine behind HTTP.
//!
//! In: `POST /query` with a [`Query`] as JSON. Out: its rows as JSON; 422 where a query contradicts the
//! data, 507 where the volume is full, 503 where more queries wait than make sense. One thread runs SQL,
//! the other answers probes, so that a slow query does not look like a hang. Deliberately absent: SQL from
//! outside; the statements are fixed, so there is nothing to inject.

mod engine;
mod query;

use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use tokio::sync::oneshot;

use engine::{Engine, EngineError};
pub(super) use query::{CartRow, Item, OrderRow, Payment, Placed, Product, Query, Written};

use super::answer::{Answer, Request};
use super::append_log::AppendLog;
use super::server::Application;
use super::settings::{Settings, number_or};
use super::{ServiceError, locked, wall_us};

/// Queries that may wait for the engine. At a healthy millisecond each this is a quarter of a second of
/// work; whoever would wait longer is better told at once.
const WAITING_MAX: usize = 256;

/// The service.
pub(super) struct Database {
    jobs: Mutex<Option<SyncSender<Job>>>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

struct Job {
    query: Query,
    reply: oneshot::Sender<Result<Bytes, EngineError>>,
}

impl Database {
    /// Opens the engine in the volume, makes its schema and its products if they are missing, and starts
    /// its thread.
    pub(super) fn open(settings: &Settings) -> Result<Self, ServiceError> {
        let slow = Duration::from_millis(number_or("SLOW_QUERY_MS", 50)?);
        let path = settings.volume.join("shop.db");
        let mut engine =
            Engine::open(&path).map_err(|source| ServiceError::Database { path: path.clone(), source })?;
        let slow_log = AppendLog::new(settings.volume.join("logs/slow.log"));
        let (jobs, waiting) = sync_channel::<Job>(WAITING_MAX);
        let work = move || {
            for Job { query, reply } in waiting {
                let began = Instant::now();
                let result = engine.run(&query);
                let took = began.elapsed();
                if took >= slow {
                    slow_log.note(&format!(
                        "{} {:.1}ms {}",
                        wall_us(),
                        took.as_secs_f64() * 1e3,
                        query.name()
                    ));
                }
                // Whoever asked may have given up meanwhile.
                let _ = reply.send(result);
            }
        };
        let worker =
            std::thread::Builder::new().name("sql".to_owned()).spawn(work).map_err(ServiceError::Runtime)?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), worker: Mutex::new(Some(worker)) })
    }

    /// Runs what waits, then closes the engine.
    pub(super) fn close(&self) {
        drop(locked(&self.jobs).take());
        let worker = locked(&self.worker).take();
        if worker.is_some_and(|worker| worker.join().is_err()) {
            provider::say!("the SQL thread panicked; its database was closed by the end of the process");
        }
    }

    async fn query(&self, query: Query) -> Answer {
        let (reply, result) = oneshot::channel();
        let sent = match &*locked(&self.jobs) {
            Some(jobs) => jobs.try_send(Job { query, reply }),
            None => return Answer::error(StatusCode::SERVICE_UNAVAILABLE, "the database is closing"),
        };
        match sent {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Answer::error(StatusCode::SERVICE_UNAVAILABLE, "too many queries wait already");
            }
            Err(TrySendError::Disconnected(_)) => {
                return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "the SQL thread is gone");
            }
        }
        match result.await {
            Ok(Ok(rows)) => Answer::json_bytes(rows),
            Ok(Err(error)) => Answer::error(error.status(), &error.to_string()),
            Err(_) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "the SQL thread is gone"),
        }
    }
}

impl Application for Database {
    async fn answer(&self, request: Request) -> Answer {
        match (&request.method, request.path.as_str()) {
            (&Method::POST, "/query") => match request.json() {
                Ok(query) => self.query(query).await,
                Err(unreadable) => unreadable,
            },
            _ => Answer::not_found(),
        }
    }

    fn ready(&self) -> bool {
        locked(&self.worker).as_ref().is_some_and(|worker| !worker.is_finished())
    }
}
