//! A source of any format to a plain file: values decoded, names, attributes and types as they were.

use std::path::{Path, PathBuf};

use super::chunks::{ChunkAt, chunk_grid, chunk_shape};
use super::{Context, Progress, ordered};
use crate::error::{Error, Result};
use crate::formats;
use crate::model::{AttrValue, Attribute, Group, Source, Values, Variable};

/// Writes everything in `source` to `out`, whose ending says the format.
///
/// # Errors
/// Whatever reading and writing bring. The output appears whole or not at all.
pub fn decompress(
    source: &dyn Source,
    out: &Path,
    force: bool,
    lineage: bool,
    context: &Context<'_>,
) -> Result<PathBuf> {
    super::check_output(out, force)?;
    if let Some(path) = source.lost().first() {
        return Err(Error::corrupt(
            path,
            "written with the store, but it cannot be read; extract what is wanted of the others",
        ));
    }
    let mut root = source.root().clone();
    if lineage {
        add_lineage(&mut root, "", source);
    }
    let mut sink = formats::create(out)?;
    sink.define(&root)?;
    for (path, v) in root.walk() {
        let grid = blocks(v);
        ordered::run(
            grid.len(),
            context.threads,
            |i| context.check().map(|()| &grid[i]),
            |_, at| source.read(&path, &at.start, &at.count),
            |i, values| {
                let raw_bytes = (grid[i].count.iter().product::<usize>() * v.dtype().map_or(1, |d| d.size())) as u64;
                (context.progress)(Progress { variable: &path, raw_bytes, coded_bytes: 0 });
                sink.write(&path, &grid[i].start, &grid[i].count, &values)
            },
        )?;
    }
    context.check()?;
    sink.finish()
}

/// Blocks in which a variable is copied: its chunks, if they are of a sensible size.
fn blocks(v: &Variable) -> Vec<ChunkAt> {
    let dtype = v.dtype().unwrap_or(lithify_codec::Dtype::F64);
    chunk_grid(&v.shape, &chunk_shape(&v.shape, dtype, v.chunks.as_deref()), None)
}

/// Attribute `lithify` on each variable that has a certificate, so that a later lossy pass knows of this one.
fn add_lineage(group: &mut Group, prefix: &str, source: &dyn Source) {
    for v in &mut group.variables {
        if let Some(certificate) = source.certificate(&format!("{prefix}{}", v.name)) {
            v.attrs.retain(|a| a.name != "lithify");
            v.attrs.push(Attribute { name: "lithify".into(), value: AttrValue::Text(certificate.to_string()) });
        }
    }
    for g in &mut group.groups {
        let prefix = format!("{prefix}{}/", g.name);
        add_lineage(g, &prefix, source);
    }
}

/// Number of elements of a block of any kind.
pub fn n_values(values: &Values) -> usize {
    match values {
        Values::Numbers(n) => n.len(),
        Values::Chars(c) => c.len(),
        Values::Strings(s) => s.len(),
    }
}
