//! Tiles from files: reading, places, held-out places, augmentation.
//!
//! # Shapes    an image is f32`[C, D, H, W]`: `[band, 1, y, x]`, or `[1, z, y, x]` for volumes
//! # Split     by place, never by tile: tiles of one place look alike, and a model would seem better than it is

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lithify_codec::Samples;
use lithify_io::formats;
use lithify_io::model::{AttrValue, Source, Values, Variable, attr};

use crate::config::{Data, Normalise};
use crate::error::{Error, Result};

/// Where nothing was observed: `NaN`, and the file's fill value.
#[derive(Debug, Clone)]
pub struct Image {
    /// `[C, D, H, W]`.
    pub shape: [usize; 4],
    /// Samples, C order; normalised by [`Corpus::read`], missing ones zero.
    pub samples: Vec<f32>,
    /// Weights `[H, W]` of a quality map; empty without one.
    pub quality: Vec<f32>,
    /// Index in [`Corpus::labels`]: the folder that the file is in.
    pub label: usize,
    /// The name of the place.
    pub place: String,
    held_out: bool,
}

/// Everything that is learned from.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// All images, or blocks of them.
    pub images: Vec<Image>,
    /// Mean of each band.
    pub means: Vec<f64>,
    /// What each band was divided by.
    pub deviations: Vec<f64>,
    /// Names of the folders.
    pub labels: Vec<String>,
    /// The pattern that the files came from.
    pub source: String,
}

/// Tiles, ready for a step.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[N, C, D, H, W]`.
    pub shape: [usize; 5],
    /// Samples, C order.
    pub samples: Vec<f32>,
    /// Weights `[N, H, W]`, ones without a quality map.
    pub quality: Vec<f32>,
    /// Labels `[N]`.
    pub labels: Vec<usize>,
}

impl Corpus {
    /// Reads what `pattern` matches; statistics are those of the places that are not held out.
    ///
    /// # Errors
    /// [`Error::Data`] if nothing matches, images differ in their bands, or no place is left on one of the sides;
    /// [`Error::Files`] if a file cannot be read.
    pub fn read(pattern: &str, data: &Data, volume: bool, quality: &str) -> Result<Self> {
        let files = expand(pattern)?;
        let place = match data.place.as_str() {
            "" => None,
            p => Some(regex::Regex::new(p).map_err(|e| Error::Config(format!("data.place: {}", one_line(&e))))?),
        };
        let mut labels: Vec<String> = files.iter().map(|f| folder(f)).collect();
        labels.sort();
        labels.dedup();
        let mut images = Vec::new();
        for file in &files {
            let label = labels.binary_search(&folder(file)).unwrap_or(0);
            let place = place_of(file, place.as_ref())?;
            for image in read_file(file, data, volume, quality)? {
                let image = Image { label, place: place.clone(), ..image };
                if data.block > 0 { images.extend(image.blocks(data.block)) } else { images.push(image) }
            }
        }
        let bands = images.first().map_or(0, |i| i.shape[0]);
        if let Some(other) = images.iter().find(|i| i.shape[0] != bands) {
            let (got, place) = (other.shape[0], &other.place);
            return Err(Error::Data(format!("{place} has {got} bands, others {bands}; give --data files that agree")));
        }
        hold_out(&mut images, data)?;
        let (means, deviations) = statistics(&images, data.normalise);
        for image in &mut images {
            let plane = image.samples.len() / bands.max(1);
            for (b, band) in image.samples.chunks_mut(plane.max(1)).enumerate() {
                for v in band {
                    let x = (f64::from(*v) - means[b]) / deviations[b];
                    *v = if x.is_finite() { x as f32 } else { 0.0 };
                }
            }
        }
        let corpus = Self { images, means, deviations, labels, source: pattern.to_string() };
        for (side, held_out) in [("training", false), ("held-out", true)] {
            if !corpus.images.iter().any(|i| i.held_out == held_out && i.fits(data.tile)) {
                return Err(Error::Data(format!(
                    "no {side} image is as large as data.tile = {}; lower data.tile or data.block",
                    data.tile
                )));
            }
        }
        Ok(corpus)
    }

    /// Bands.
    pub fn bands(&self) -> usize {
        self.means.len()
    }

    /// What lies between the smallest and the largest normalised sample of the training places.
    pub fn range(&self) -> f64 {
        let all = self.images.iter().filter(|i| !i.held_out).flat_map(|i| &i.samples);
        let (min, max) = all.fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        f64::from((max - min).max(f32::MIN_POSITIVE))
    }

    /// Names of the places of one side.
    pub fn places(&self, held_out: bool) -> BTreeSet<&str> {
        self.images.iter().filter(|i| i.held_out == held_out).map(|i| i.place.as_str()).collect()
    }

    /// `n` random tiles of training places.
    pub fn batch(&self, n: usize, tile: usize, augment: bool, rng: &mut fastrand::Rng) -> Batch {
        let of: Vec<&Image> = self.images.iter().filter(|i| !i.held_out && i.fits(tile)).collect();
        // Larger images have more tiles.
        let areas: Vec<usize> = of.iter().map(|i| i.shape[2] * i.shape[3]).collect();
        let total: usize = areas.iter().sum();
        let mut out = Batch::empty();
        for _ in 0..n {
            let mut at = rng.usize(0..total.max(1));
            let i = areas
                .iter()
                .position(|a| {
                    if at < *a {
                        true
                    } else {
                        at -= a;
                        false
                    }
                })
                .unwrap_or(0);
            let corner = (rng.usize(0..=of[i].shape[2] - tile), rng.usize(0..=of[i].shape[3] - tile));
            let turn = if augment { rng.u8(0..8) } else { 0 };
            out.push(of[i], corner, tile, turn);
        }
        out
    }

    /// At most `n` tiles of held-out places, the same each time, spread over the images.
    pub fn held_out(&self, n: usize, tile: usize) -> Vec<Batch> {
        let of: Vec<&Image> = self.images.iter().filter(|i| i.held_out && i.fits(tile)).collect();
        let all: Vec<(&Image, (usize, usize))> = of
            .iter()
            .flat_map(|i| {
                let (rows, columns) = (i.shape[2] / tile, i.shape[3] / tile);
                (0..rows * columns).map(move |k| (*i, (k / columns * tile, k % columns * tile)))
            })
            .collect();
        let step = all.len().div_ceil(n.max(1)).max(1);
        all.iter()
            .step_by(step)
            .map(|(image, corner)| {
                let mut one = Batch::empty();
                one.push(image, *corner, tile, 0);
                one
            })
            .collect()
    }
}

impl Image {
    fn fits(&self, tile: usize) -> bool {
        self.shape[2] >= tile && self.shape[3] >= tile
    }

    /// Cut into squares of `side`, each a place of its own.
    fn blocks(&self, side: usize) -> Vec<Self> {
        let [c, d, h, w] = self.shape;
        let mut out = Vec::new();
        for y in (0..h).step_by(side) {
            for x in (0..w).step_by(side) {
                let (bh, bw) = (side.min(h - y), side.min(w - x));
                let cut = |from: &[f32]| -> Vec<f32> {
                    let planes = from.len() / (h * w);
                    (0..planes * bh)
                        .flat_map(|i| {
                            let at = (i / bh * h + y + i % bh) * w + x;
                            from[at..at + bw].iter().copied()
                        })
                        .collect()
                };
                out.push(Self {
                    shape: [c, d, bh, bw],
                    samples: cut(&self.samples),
                    quality: cut(&self.quality),
                    label: self.label,
                    place: format!("{}#{y},{x}", self.place),
                    held_out: false,
                });
            }
        }
        out
    }
}

impl Batch {
    fn empty() -> Self {
        Self { shape: [0; 5], samples: Vec::new(), quality: Vec::new(), labels: Vec::new() }
    }

    /// Adds the tile at `corner`, turned as `turn` says: 1 mirrors x, 2 mirrors y, 4 swaps them.
    fn push(&mut self, image: &Image, corner: (usize, usize), tile: usize, turn: u8) {
        let [c, d, h, w] = image.shape;
        let at = |y: usize, x: usize| {
            let (y, x) = if turn & 4 == 0 { (y, x) } else { (x, y) };
            let y = if turn & 2 == 0 { y } else { tile - 1 - y };
            let x = if turn & 1 == 0 { x } else { tile - 1 - x };
            (corner.0 + y) * w + corner.1 + x
        };
        for plane in image.samples.chunks_exact(h * w) {
            self.samples.extend((0..tile * tile).map(|i| plane[at(i / tile, i % tile)]));
        }
        match image.quality.is_empty() {
            true => self.quality.extend(std::iter::repeat_n(1.0, tile * tile)),
            false => self.quality.extend((0..tile * tile).map(|i| image.quality[at(i / tile, i % tile)])),
        }
        self.labels.push(image.label);
        self.shape = [self.labels.len(), c, d, tile, tile];
    }
}

/// Files of a pattern, in order of their names.
fn expand(pattern: &str) -> Result<Vec<PathBuf>> {
    let bad = |e: &dyn std::fmt::Display| Error::Data(format!("--data {pattern}: {e}"));
    let mut files = Vec::new();
    for path in glob::glob(pattern).map_err(|e| bad(&e))? {
        files.push(path.map_err(|e| bad(&e))?);
    }
    if files.is_empty() {
        return Err(bad(&"no file matches; quote the pattern so that the shell leaves it alone"));
    }
    files.sort();
    Ok(files)
}

fn folder(file: &Path) -> String {
    file.parent().and_then(Path::file_name).map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

fn place_of(file: &Path, pattern: Option<&regex::Regex>) -> Result<String> {
    let name = file.to_string_lossy();
    match pattern {
        None => Ok(name.into_owned()),
        Some(p) => match p.captures(&name).and_then(|c| c.get(1).or_else(|| c.get(0))) {
            Some(m) => Ok(m.as_str().to_string()),
            None => Err(Error::Data(format!("{name}: data.place = {:?} does not match this path", p.as_str()))),
        },
    }
}

/// The images of one file: the axes before band, y and x are images of their own.
fn read_file(path: &Path, data: &Data, volume: bool, quality: &str) -> Result<Vec<Image>> {
    let source = formats::open(path)?;
    let source = source.as_ref();
    let names: Vec<String> = match data.variables.is_empty() {
        false => data.variables.clone(),
        true => vec![largest(source, path)?],
    };
    let (first, rest) = match names.split_first() {
        Some((first, rest)) => (first, rest),
        None => return Ok(Vec::new()),
    };
    let mut images = planes(source, path, first, volume)?;
    for name in rest {
        for (image, more) in images.iter_mut().zip(planes(source, path, name, volume)?) {
            if image.shape[1..] != more.shape[1..] {
                return Err(Error::Data(format!("{}: {name} is not shaped as {first}", path.display())));
            }
            image.shape[0] += more.shape[0];
            image.samples.extend(more.samples);
        }
    }
    if !quality.is_empty() {
        let map = planes(source, path, quality, false)?;
        for (i, image) in images.iter_mut().enumerate() {
            let Some(map) = map.get(i).or_else(|| map.first()).filter(|m| m.shape[2..] == image.shape[2..]) else {
                return Err(Error::Data(format!("{}: {quality} is not shaped as the samples", path.display())));
            };
            let plane = image.shape[2] * image.shape[3];
            image.quality = map.samples[..plane].iter().map(|w| if w.is_finite() { w.max(0.0) } else { 0.0 }).collect();
        }
    }
    Ok(images)
}

/// The variable with the most samples that has at least y and x.
fn largest(source: &dyn Source, path: &Path) -> Result<String> {
    let all = source.root().walk();
    let numbers = all.iter().filter(|(_, v)| v.dtype().is_some() && v.shape.len() >= 2);
    let found = numbers.max_by_key(|(_, v)| v.len());
    found
        .map(|(p, _)| p.clone())
        .ok_or_else(|| Error::Data(format!("{}: no variable has rows and columns", path.display())))
}

fn planes(source: &dyn Source, path: &Path, name: &str, volume: bool) -> Result<Vec<Image>> {
    let variable = source.root().find(name)?;
    let shape = &variable.shape;
    let n = shape.len();
    if n < 2 || variable.is_empty() {
        return Err(Error::Data(format!(
            "{}: {name} has shape {shape:?}; rows and columns are needed",
            path.display()
        )));
    }
    let (h, w, third) = (shape[n - 2], shape[n - 1], if n > 2 { shape[n - 3] } else { 1 });
    let numbers = match source.read(name, &vec![0; n], shape)? {
        Values::Numbers(numbers) => numbers,
        _ => return Err(Error::Data(format!("{}: {name} holds no numbers", path.display()))),
    };
    let samples = observed(variable, &numbers);
    let shape = if volume { [1, third, h, w] } else { [third, 1, h, w] };
    Ok(samples
        .chunks_exact(third * h * w)
        .map(|s| Image {
            shape,
            samples: s.to_vec(),
            quality: Vec::new(),
            label: 0,
            place: String::new(),
            held_out: false,
        })
        .collect())
}

/// Samples as stored, as a codec sees them; `NaN` where nothing was observed.
fn observed(variable: &Variable, numbers: &Samples) -> Vec<f32> {
    let fills: Vec<f64> = ["_FillValue", "missing_value"]
        .iter()
        .filter_map(|a| attr(&variable.attrs, a).and_then(AttrValue::as_f64))
        .collect();
    (0..numbers.len())
        .map(|i| {
            let v = numbers.f64(i);
            if fills.contains(&v) { f32::NAN } else { v as f32 }
        })
        .collect()
}

/// Marks the held-out places: those that are named, or the first in the order of a hash of their names.
fn hold_out(images: &mut [Image], data: &Data) -> Result<()> {
    let mut places: Vec<String> = images.iter().map(|i| i.place.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    if places.len() < 2 {
        let only = places.first().map_or("", |p| p);
        return Err(Error::Data(format!(
            "{only} is the only place; set data.block so that its blocks count as places"
        )));
    }
    let chosen: BTreeSet<String> = match data.held_out_places.is_empty() {
        true => {
            places.sort_by_key(|p| fnv(p));
            let n = ((places.len() as f64 * data.held_out).round() as usize).clamp(1, places.len() - 1);
            places.into_iter().take(n).collect()
        }
        false => {
            if let Some(unknown) = data.held_out_places.iter().find(|p| !places.contains(p)) {
                let known = places.join(", ");
                return Err(Error::Data(format!("data.held-out-places: {unknown:?} is not one of {known}")));
            }
            data.held_out_places.iter().cloned().collect()
        }
    };
    for image in images {
        image.held_out = chosen.contains(&image.place);
    }
    Ok(())
}

/// FNV-1a, then mixed: an order of names that has nothing to do with them and never changes.
fn fnv(name: &str) -> u64 {
    let h = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    (h ^ (h >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn statistics(images: &[Image], normalise: Normalise) -> (Vec<f64>, Vec<f64>) {
    let bands = images.first().map_or(0, |i| i.shape[0]);
    let mut sums = vec![(0.0_f64, 0.0_f64, 0.0_f64); bands];
    for image in images.iter().filter(|i| !i.held_out) {
        let plane = image.samples.len() / bands;
        for (s, band) in sums.iter_mut().zip(image.samples.chunks_exact(plane)) {
            for v in band.iter().map(|v| f64::from(*v)).filter(|v| v.is_finite()) {
                *s = (s.0 + 1.0, s.1 + v, s.2 + v * v);
            }
        }
    }
    let means: Vec<f64> = sums.iter().map(|s| s.1 / s.0.max(1.0)).collect();
    let variances: Vec<f64> = sums.iter().zip(&means).map(|(s, m)| (s.2 / s.0.max(1.0) - m * m).max(0.0)).collect();
    let safe = |v: f64| if v > 0.0 { v.sqrt() } else { 1.0 };
    let deviations = match normalise {
        Normalise::Band => variances.into_iter().map(safe).collect(),
        Normalise::Shared => vec![safe(variances.iter().sum::<f64>() / bands.max(1) as f64); bands],
    };
    // What the model file holds is f32, and so are these.
    let round = |v: Vec<f64>| v.into_iter().map(|x| f64::from(x as f32)).collect();
    (round(means), round(deviations))
}

fn one_line(e: &dyn std::fmt::Display) -> String {
    e.to_string().lines().last().unwrap_or_default().trim().to_string()
}
