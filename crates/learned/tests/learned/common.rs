//! Small pictures on disk, and configurations that train on them in seconds.

use std::io::Write;
use std::path::Path;

use burn_tensor::Device;
use lithify_learned::config::Config;
use lithify_learned::data::Corpus;
use lithify_learned::train::{History, Observer, Trained, train};
use serde_json::json;

/// Bands of a picture.
pub const BANDS: usize = 3;
const SIDE: usize = 48;

/// Rows of the entropy axis.
pub const ENTROPIES: [&str; 7] =
    ["factorized", "laplacian", "scale-hyperprior", "mean-scale-hyperprior", "checkerboard", "channel-wise", "mixture"];

/// Six places in two folders: waves that bands share, with some noise.
pub fn pictures(dir: &Path) -> String {
    let mut rng = fastrand::Rng::with_seed(3);
    for i in 0..6 {
        let folder = dir.join(if i % 2 == 0 { "field" } else { "water" });
        std::fs::create_dir_all(&folder).expect("a folder");
        let (fx, fy) = (rng.f32() * 0.3 + 0.1, rng.f32() * 0.3 + 0.1);
        let value = |b: usize, y: usize, x: usize, noise: f32| {
            let wave = (x as f32 * fx).sin() + (y as f32 * fy).cos() * if i % 2 == 0 { 1.0 } else { 0.3 };
            100.0 + 40.0 * wave * (1.0 - 0.2 * b as f32) + 5.0 * b as f32 + noise
        };
        let mut values = Vec::new();
        for b in 0..BANDS {
            for p in 0..SIDE * SIDE {
                values.push(value(b, p / SIDE, p % SIDE, rng.f32() * 4.0));
            }
        }
        npy(&folder.join(format!("place{i}.npy")), &[BANDS, SIDE, SIDE], &values);
    }
    format!("{}/*/*.npy", dir.display())
}

/// A file of NumPy's, version 1.
pub fn npy(path: &Path, shape: &[usize], values: &[f32]) {
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", dims.join(", "));
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = std::fs::File::create(path).expect("a file");
    file.write_all(b"\x93NUMPY\x01\x00").expect("writing");
    file.write_all(&(header.len() as u16).to_le_bytes()).expect("writing");
    file.write_all(header.as_bytes()).expect("writing");
    file.write_all(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).expect("writing");
}

/// A Zarr store of arrays in one chunk each.
pub fn zarr(path: &Path, arrays: &[(&str, &[usize], &[f32])]) {
    let group = json!({"zarr_format": 3, "node_type": "group", "attributes": {}});
    std::fs::create_dir_all(path).expect("a folder");
    std::fs::write(path.join("zarr.json"), group.to_string()).expect("writing");
    for (name, shape, values) in arrays {
        let chunk = shape.iter().fold(path.join(name).join("c"), |p, _| p.join("0"));
        std::fs::create_dir_all(chunk.parent().expect("a folder")).expect("a folder");
        std::fs::write(chunk, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).expect("writing");
        let names: Vec<String> = shape.iter().map(|n| format!("n{n}")).collect();
        let array = json!({
            "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "float32", "fill_value": 0,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": {}, "dimension_names": names,
        });
        std::fs::write(path.join(name).join("zarr.json"), array.to_string()).expect("writing");
    }
}

/// A configuration of a few lines, to which `more` is added.
pub fn config(transform: &str, more: &str) -> Config {
    let objective = if more.contains("[objective]") { "" } else { "[objective]\nlambda = [100.0]" };
    let text = format!(
        "name = \"test\"\n[transform]\nlatents = 12\nhidden = 8\nlevels = 2\n{transform}\n{objective}\n{more}\n\
         [data]\ntile = 16\nheld-out = 0.3\n[train]\nsteps = 80\nbatch = 4\nrate = 1e-3\nevery = 40\neval-tiles = 4\n"
    );
    Config::parse(&text).expect(&text)
}

/// Reads the pictures as the configuration wants them.
pub fn corpus(pattern: &str, config: &Config) -> Corpus {
    Corpus::read(pattern, &config.data, config.transform.volume, &config.objective.quality).expect("pictures")
}

/// Nobody is told; stops after so many steps.
pub struct Silent(pub usize);

impl Observer for Silent {
    fn step(&mut self, step: usize, loss: f64) {
        assert!(loss.is_finite());
        if step == self.0 {
            self.0 = 0;
        }
    }
    fn evaluated(&mut self, _: &History) {}
    fn stop(&mut self) -> bool {
        self.0 == 0
    }
}

/// Trains to the end.
pub fn trained(config: &Config, corpus: &Corpus) -> Trained {
    train(config, corpus, &Device::flex(), None, false, &mut Silent(usize::MAX)).expect("training")
}
