//! Writes `crds/manifests/*.yaml` from the types.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    std::fs::create_dir_all(&folder)?;
    for (file, text) in streamfleet_crds::manifests()? {
        std::fs::write(folder.join(file), text)?;
    }
    Ok(())
}
