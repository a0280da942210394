mod known;
mod random;
mod toy;
