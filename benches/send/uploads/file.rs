//! Files to upload: the same bytes each time, which nothing can compress or guess.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
};

use ring::digest;

/// A file. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

impl Sample {
    /// Writes a file of so many MiB.
    pub(crate) fn of_mib(mib: u64) -> anyhow::Result<Self> {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("upload-{mib}.bin"));
        let mut random = fastrand::Rng::with_seed(mib);
        let mut file = File::create(&path)?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut block = vec![0; 1 << 20];
        for _ in 0..mib {
            random.fill(&mut block);
            hash.update(&block);
            file.write_all(&block)?;
        }
        let sum = hash.finish();
        let sum = sum.as_ref().iter().map(|byte| format!("{byte:02x}"));
        Ok(Self {
            path,
            size: mib << 20,
            sha256: sum.collect(),
        })
    }

    /// The path as an argument.
    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // What is left lies in target/.
        let _ = fs::remove_file(&self.path);
    }
}
