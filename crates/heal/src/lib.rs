//! The loop: queue, turn, modes, approvals.
