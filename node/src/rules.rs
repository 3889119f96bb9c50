//! [`Rules`]: which paths belong to a tree, in gitignore syntax.
