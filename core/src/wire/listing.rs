//! Listings packed as columns: what a scan sends over the network.
