//! State that survives: issues, plans, the journal, outcomes, timers.
