//! Histories in, verdicts out: pure checkers.
