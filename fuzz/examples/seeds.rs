//! Writes the seeds: `cargo run --example seeds`. Certificates differ from run to run; the rest does not.

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for seed in orbit_fuzz::seed::all() {
        let directory = root.join(seed.target);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join(seed.name), seed.bytes)?;
    }
    Ok(())
}
