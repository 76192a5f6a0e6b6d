//! Adds the golden payloads that are missing: `cargo run -p lithify-codec --example golden --features testkit`.
//!
//! One for each codec and sample type, in `golden/<format version>/`, named `<codec>.<type>.bin`; the checksum of the decoded
//! samples is inside. Joined ones in `golden/2/`: `joined-<dimension>.<type>.bin`. A file that is there is never touched: it was written by the version that introduced it.

use lithify_codec::transform::TRANSFORMS;
use lithify_codec::{Affine, ChunkSpec, Codec, Dtype, FieldStats, MAGIC, Promise, match_samples, testkit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(MAGIC[3].to_string());
    std::fs::create_dir_all(&folder)?;
    let mut names: Vec<&str> = TRANSFORMS.iter().map(|s| s.name).filter(|n| *n != "learned").collect();
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
    learned(&folder)?;
    joined(&folder.with_file_name("2"))
}

/// One for each model of the kit, with its model beside it.
fn learned(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let field = testkit::FIELDS.iter().find(|f| f.name() == "masked").ok_or("no such field")?;
    for (model, shape) in lithify_codec::learned::testkit::models()? {
        let file = folder.join(format!("learned-{}.float32.bin", model.card().name.replace(' ', "-")));
        if file.exists() {
            continue;
        }
        let x = field.samples(Dtype::F32, shape.iter().product(), 1);
        let tolerance = "abs=20".parse::<Promise>()?.resolve(&FieldStats::default());
        std::fs::write(file.with_extension("safetensors"), model.as_bytes())?;
        let codec: Codec = format!("learned:{}", lithify_codec::learned::register(model)).parse()?;
        let spec = ChunkSpec { codec, tolerance, effort: 2, ..ChunkSpec::lossless() };
        std::fs::write(&file, lithify_codec::encode_chunk(&x, &shape, &spec)?.bytes)?;
        println!("{}", file.display());
    }
    Ok(())
}

/// Chunks that were filled bit by bit: 3, 1 and 2 of 6 along one dimension.
fn joined(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder)?;
    let field = testkit::FIELDS.iter().find(|f| f.name() == "masked").ok_or("no such field")?;
    let cases = [
        (0, Dtype::F32, "predict"),
        (1, Dtype::F32, "wavelet"),
        (0, Dtype::I16, "lossless"),
        (2, Dtype::F64, "tensor"),
    ];
    for (axis, dtype, codec) in cases {
        let file = folder.join(format!("joined-{axis}.{dtype}.bin"));
        if file.exists() {
            continue;
        }
        let mut payloads = Vec::new();
        for (i, n) in [3, 1, 2].into_iter().enumerate() {
            let mut shape = [5, 7, 11];
            shape[axis] = n;
            let x = field.samples(dtype, shape.iter().product(), i as u64);
            let promise: Promise = if codec == "lossless" { Promise::lossless() } else { "abs=2".parse()? };
            let tolerance = promise.resolve(&FieldStats::default());
            let spec = ChunkSpec { codec: codec.parse()?, tolerance, ..ChunkSpec::lossless() };
            payloads.push(lithify_codec::encode_chunk(&x, &shape, &spec)?.bytes);
        }
        let all: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        std::fs::write(&file, lithify_codec::join(axis, &all)?)?;
        println!("{}", file.display());
    }
    Ok(())
}
