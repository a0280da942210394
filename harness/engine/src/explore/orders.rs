//! Real-time orders of the operations of one execution.
