//! `history.jsonl`: a history as text, one event a line, written by tearproof or by any tool.
