//! What Orbit does (map follows with the modules).

pub mod local;
pub mod rules;
pub mod standalone;
