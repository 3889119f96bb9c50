//! [`Jail`]: a root handle below which every path is opened.
