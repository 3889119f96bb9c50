//! Meshes in one process over the loopback interface, and what outsiders can do to them.

#[path = "mesh/cable.rs"]
mod cable;
#[path = "mesh/crowd.rs"]
mod crowd;
#[path = "mesh/hello.rs"]
mod hello;
#[path = "mesh/link.rs"]
mod link;
#[path = "mesh/outsider.rs"]
mod outsider;
#[path = "mesh/siege.rs"]
mod siege;
#[path = "mesh/stranger.rs"]
mod stranger;
#[path = "mesh/talk.rs"]
mod talk;
#[path = "mesh/world.rs"]
mod world;
