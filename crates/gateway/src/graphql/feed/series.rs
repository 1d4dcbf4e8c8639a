//! Series that somebody listens to: each expression is evaluated once an interval, however many listen.
//!
//! In: expressions with intervals. Out: what they give, one after the other on a thread that is given back in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use promql::Expression;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::graphql::page::FIRST_MAX;
use crate::graphql::scalars::DateTime;
use crate::graphql::types::metric::{MetricsUpdate, Times, evaluate, parse, within};
use crate::live::stopped;
use crate::problem::{Code, Problem};
use crate::serve::{App, lock};

/// How often is looked whether something is due.
const TICK: Duration = Duration::from_secs(1);

/// How long one expression may take.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Different expressions and intervals that are followed at a time.
const FOLLOWED_MAX: usize = 64;

/// The shortest and the longest interval, in seconds.
const INTERVAL_SECONDS: std::ops::RangeInclusive<u32> = 1..=3_600;

/// What an expression gave last; none before its first evaluation.
pub(in crate::graphql) type Told = Option<Result<Arc<MetricsUpdate>, Problem>>;

/// An expression and how often it is evaluated, in seconds.
type Key = (String, u32);

/// The expressions that are followed, and whether the task runs that evaluates them.
#[derive(Default)]
pub(in crate::graphql) struct SeriesFeed(Mutex<Followed>);

#[derive(Default)]
struct Followed {
    runs: bool,
    series: HashMap<Key, One>,
}

struct One {
    expression: Arc<Expression>,
    due: Instant,
    told: watch::Sender<Told>,
}

impl SeriesFeed {
    /// What an expression gives, every interval.
    pub(in crate::graphql) fn follow(
        &self,
        app: &Arc<App>,
        query: &str,
        seconds: u32,
    ) -> Result<watch::Receiver<Told>, Problem> {
        if !INTERVAL_SECONDS.contains(&seconds) {
            let (low, high) = (INTERVAL_SECONDS.start(), INTERVAL_SECONDS.end());
            let why = format!("`interval` is {seconds}; give a whole number of seconds from {low} to {high}");
            return Err(Problem::field("interval", why));
        }
        let mut followed = lock(&self.0);
        let key = (query.to_owned(), seconds);
        if !followed.series.contains_key(&key) {
            followed.series.retain(|_, one| one.told.receiver_count() > 0);
            if followed.series.len() >= FOLLOWED_MAX {
                let why = format!("{FOLLOWED_MAX} different series are followed already; end one of them");
                return Err(Problem::new(Code::TooManyRequests, why));
            }
            let expression = Arc::new(parse(query)?);
            let one = One { expression, due: Instant::now(), told: watch::Sender::new(None) };
            followed.series.insert(key.clone(), one);
        }
        let mut receiver = followed.series[&key].told.subscribe();
        if receiver.borrow().is_some() {
            receiver.mark_changed();
        }
        if !followed.runs {
            followed.runs = true;
            tokio::spawn(run(Arc::clone(app)));
        }
        Ok(receiver)
    }

    /// What is to be evaluated now; none where nobody listens any more.
    fn due(&self, now: Instant) -> Option<Vec<(Key, Arc<Expression>)>> {
        let mut followed = lock(&self.0);
        followed.series.retain(|_, one| one.told.receiver_count() > 0);
        followed.runs = !followed.series.is_empty();
        if !followed.runs {
            return None;
        }
        let due = followed.series.iter_mut().filter(|(_, one)| one.due <= now).map(|(key, one)| {
            one.due = now + Duration::from_secs(u64::from(key.1));
            (key.clone(), Arc::clone(&one.expression))
        });
        Some(due.collect())
    }

    fn tell(&self, key: &Key, told: Result<Arc<MetricsUpdate>, Problem>) {
        if let Some(one) = lock(&self.0).series.get(key) {
            one.told.send_replace(Some(told));
        }
    }
}

async fn run(app: Arc<App>) {
    let mut stopping = app.stopping.clone();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = tokio::select! {
            () = stopped(&mut stopping) => return,
            // When the tick was to come, not when it was seen: else what is due with the next one is late for it.
            now = ticks.tick() => now,
        };
        let Some(due) = app.graphql.feeds.series.due(now) else { return };
        for (key, expression) in due {
            // They are queries like those of Prometheus' API, and take their turn with them.
            let Ok(turn) = Arc::clone(&app.queries).acquire_owned().await else { return };
            let evaluating = Arc::clone(&app);
            let told = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                update(&evaluating, &expression)
            });
            let failed =
                |_| Err(Problem::internal("the query failed; the log of `homeostat serve` says why"));
            app.graphql.feeds.series.tell(&key, told.await.unwrap_or_else(failed));
        }
    }
}

fn update(app: &App, expression: &Expression) -> Result<Arc<MetricsUpdate>, Problem> {
    let now = app.clock.now();
    let times = Times::At(now.wall_us.div_euclid(1000));
    let mut series = evaluate(app.metrics.as_ref(), expression, &times, &within(TIME_MAX))?;
    let truncated = series.len() > FIRST_MAX;
    series.truncate(FIRST_MAX);
    Ok(Arc::new(MetricsUpdate { at: DateTime(now), series, truncated }))
}
