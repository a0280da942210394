//! A run in, a document out: terminal, json.
