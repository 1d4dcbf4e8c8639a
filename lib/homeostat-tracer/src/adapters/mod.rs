//! Adapters to other libraries, each behind a feature of its name.
