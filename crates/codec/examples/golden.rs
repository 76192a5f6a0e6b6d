//! Adds the golden payloads that are missing: `cargo run -p lithify-codec --example golden --features testkit`.
//!
//! One for each codec and sample type, in `golden/<format version>/`, named `<codec>.<type>.bin`; the checksum of the decoded
//! samples is inside. A file that is there is never touched: it was written by the version that introduced it.

use lithify_codec::transform::TRANSFORMS;
use lithify_codec::{Affine, ChunkSpec, Codec, Dtype, FieldStats, MAGIC, Promise, match_samples, testkit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(MAGIC[3].to_string());
    std::fs::create_dir_all(&folder)?;
    let mut names: Vec<&str> = TRANSFORMS.iter().map(|s| s.name).collect();
    names.extend(["lossless", "auto", "predict,quick=1"]);
    let field = testkit::FIELDS.iter().find(|f| f.name() == "masked").ok_or("no such field")?;
    for name in names {
        for dtype in Dtype::ALL {
            let file = folder.join(format!("{}.{dtype}.bin", name.replace([',', '='], "-")));
            if file.exists() {
                continue;
            }
            // Stored in an order that does not suit the data, where a codec may have another.
            let order = if name == "auto" { [2, 0, 1] } else { [0, 1, 2] };
            let shape = order.map(|d: usize| [6, 9, 13][d]);
            let x = field.samples(dtype, 6 * 9 * 13, 1).reordered(&[6, 9, 13], &order);
            let mut stats = FieldStats::default();
            let valid = match_samples!(&x, v => lithify_codec::mask::Mask::of(v, &[])).map(|m| m.valid());
            match_samples!(&x, v => stats.add(v, valid.as_deref(), Affine::IDENTITY));
            let promise: Promise = if name == "lossless" { Promise::lossless() } else { "abs=2".parse()? };
            let codec: Codec = name.parse()?;
            let spec = ChunkSpec { codec, tolerance: promise.resolve(&stats), ..ChunkSpec::lossless() };
            std::fs::write(&file, lithify_codec::encode_chunk(&x, &shape, &spec)?.bytes)?;
            println!("{}", file.display());
        }
    }
    Ok(())
}
