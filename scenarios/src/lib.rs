//! The strategies, right and wrong, and the scenarios they are compared in.
