//! Tests of the key and its file.
