//! [`LocalSystem`] and [`LocalWriter`]: the contracts of `orbit-core` by system calls of this machine.

pub mod jail;
pub mod metadata;
pub mod scanner;
pub mod writer;
