//! Runs one cleared plan: journal, do, prove, undo, recover.
