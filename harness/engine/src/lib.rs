//! Everything that touches processes, system calls and shared memory.
