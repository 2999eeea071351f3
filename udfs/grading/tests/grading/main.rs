//! What the grading library promises, seen from outside.

mod answers;
mod key_errors;
mod lateness;
mod marks;
mod normalise;
mod ordered_exhaustive;
mod scorer;
mod sources;
mod totals;
mod written_marks;
