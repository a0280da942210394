mod canaries;
mod compare;
mod debug_tmp;
mod known;
mod preemption;
mod random;
mod speed;
mod toy;
