//! What Orbit does (map follows with the modules).

pub mod doctor;
pub mod local;
pub mod rules;
pub mod standalone;
pub mod store_trouble;
