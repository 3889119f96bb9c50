//! Tests of the certificates.

mod altered;
mod documents;
mod fixture;
mod forged;
mod openssl;
mod rotation;
