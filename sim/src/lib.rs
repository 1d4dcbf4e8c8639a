//! Engines in memory, for tests and simulation: [`MemoryProvider`] and [`VirtualClock`].
//!
//! In: an Infrastructure, a seed, cleared steps. Out: a small world that keeps the contract of
//! [`provider::Change`] to the letter: owners and generations, idempotence by token, faults that end by
//! themselves, stress that dies with its instance. Processes that end are started again by their standing
//! policy, and requests run through every link, so that a fault is felt where it would be. It is an engine,
//! not a mock: nothing in it knows what a test expects. What goes wrong in it ([`Trouble`]) goes wrong as it
//! does in the world.
//!
//! Deliberately absent: chance. The same seed and the same deeds give the same world, request by request.
//!
//! A dev-dependency only: it enables `decide/simulation`, which lets plans pass without the guard.

mod change;
mod clock;
mod fleet;
mod look;
mod process;
#[cfg(test)]
mod tests;
mod traffic;
mod usage;
mod world;

pub use clock::VirtualClock;
pub use fleet::small_fleet;
pub use world::{MemoryProvider, Trouble};

use decide::plan::Cleared;
use domain::Plan;

/// Lets a plan pass without the guard, to try what comes after it.
pub fn cleared(plan: Plan) -> Cleared<Plan> {
    Cleared::in_simulation(plan)
}
