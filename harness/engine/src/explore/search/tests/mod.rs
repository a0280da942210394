mod canaries;
mod compare;
mod known;
mod preemption;
mod random;
mod speed;
mod toy;
