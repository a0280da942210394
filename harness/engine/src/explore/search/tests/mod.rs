mod canaries;
mod compare;
mod known;
mod pct;
mod preemption;
mod random;
mod speed;
mod toy;
