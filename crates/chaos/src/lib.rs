//! Experiments, drill and its scorer, reports.
