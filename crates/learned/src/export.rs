//! From trained weights to a model file: tables of integers, networks of integers, the card.

use std::collections::{BTreeMap, BTreeSet};

use burn_tensor::Tensor;
use lithify_codec::learned::graph::{Graph, Op};
use lithify_codec::learned::model::{self, Band, Card, Layout, Model, Tables};
use lithify_codec::learned::tables::frequencies;
use lithify_codec::learned::tensor as portable;

use crate::codec::Codec;
use crate::config::QuantizerKind;
use crate::data::Corpus;
use crate::entropy::Entropy;
use crate::error::Result;
use crate::evaluate::Point;
use crate::likelihood::PerChannel;
use crate::params::{Params, floats};

/// The model of a trained codec; `points` are its rates on held-out places.
///
/// # Errors
/// Those of [`Model::new`], which are mistakes of ours.
pub fn model(codec: &Codec, corpus: &Corpus, points: &[Point]) -> Result<Model> {
    let config = &codec.config;
    let params = codec.params.frozen();
    let mut tensors = portable::Tensors::new();
    let mut used = BTreeSet::new();
    names(&codec.pair.g_a, &mut used);
    names(&codec.pair.g_s, &mut used);
    let quantizer = match config.quantizer.kind {
        QuantizerKind::Uniform => model::Quantizer::Uniform,
        QuantizerKind::Binary => model::Quantizer::Binary,
        QuantizerKind::Vector => {
            used.insert("vq.codebook".to_string());
            model::Quantizer::Vector { codebook: "vq.codebook".into() }
        }
    };
    let entropy = match &codec.entropy {
        Entropy::Factorized(channels) if config.quantizer.kind == QuantizerKind::Binary => {
            let rows = channels.tables(&params)?;
            let bits = |(low, p): &(i32, Vec<f64>)| -> (i32, Vec<f64>) {
                let at =
                    |symbol: i32| usize::try_from(symbol - low).ok().and_then(|i| p.get(i)).copied().unwrap_or(0.0);
                (0, vec![at(0), at(1)])
            };
            let rows: Vec<_> = rows.iter().map(bits).collect();
            model::Entropy::Factorized { tables: tables("y", &rows, &mut tensors) }
        }
        Entropy::Factorized(channels) => factorized(channels, &params, &mut tensors)?,
        Entropy::Words(_) => {
            let p = burn_tensor::activation::softmax(params.tensor::<2>("vq.logits")?, 1);
            let words = p.dims()[1];
            let rows: Vec<_> =
                floats(p).chunks_exact(words).map(|row| (0, row.iter().map(|v| f64::from(*v)).collect())).collect();
            model::Entropy::Factorized { tables: tables("y", &rows, &mut tensors) }
        }
        Entropy::Estimated => model::Entropy::Estimated { distribution: model::Distribution::Laplacian },
        Entropy::Hyperprior(h) => {
            names(&h.h_a, &mut used);
            crate::whole::hyperprior(codec, h, corpus, &mut tensors)?
        }
    };
    for (name, tensor) in params.portable() {
        if used.contains(&name) {
            tensors.insert(name, halved(tensor));
        }
    }
    let gains = match config.quantizer.kind {
        QuantizerKind::Uniform => {
            let gain: Tensor<2> = params.tensor("gain")?;
            let shape = gain.dims();
            tensors.insert("gain".into(), portable::Tensor::f32(&shape, floats(gain.exp())));
            Some("gain".to_string())
        }
        _ => None,
    };
    let volume = config.transform.volume;
    let bands = corpus.means.iter().zip(&corpus.deviations).enumerate();
    let bands = bands.map(|(i, (mean, std))| Band { name: (i + 1).to_string(), mean: *mean, std: *std }).collect();
    let mut metrics = BTreeMap::new();
    for p in points {
        for (what, value) in [("bits_per_sample", p.bits_per_sample), ("psnr_db", p.psnr_db), ("ms_ssim", p.ms_ssim)] {
            metrics.insert(format!("lambda {} {what}", p.lambda), value);
        }
    }
    let card = Card {
        format: model::FORMAT,
        name: config.name.clone(),
        layout: if volume { Layout::Depth } else { Layout::Channels },
        bands,
        side: Vec::new(),
        g_a: codec.pair.g_a.clone(),
        g_s: codec.pair.g_s.clone(),
        quantizer,
        entropy,
        gains,
        data: corpus.source.clone(),
        licence: config.licence.clone(),
        metrics,
        training: serde_json::to_value(config).unwrap_or_default(),
    };
    Ok(Model::new(card, tensors)?)
}

/// Matrices and kernels in half precision; what is one number for a channel counts for more and takes little room.
fn halved(t: portable::Tensor) -> portable::Tensor {
    match &t.data {
        portable::Data::F32(v) if t.shape.len() > 1 => portable::Tensor::f16(&t.shape, v),
        _ => t,
    }
}

fn factorized(channels: &PerChannel, params: &Params, tensors: &mut portable::Tensors) -> Result<model::Entropy> {
    Ok(model::Entropy::Factorized { tables: tables("y", &channels.tables(params)?, tensors) })
}

/// Tensors that a network names.
pub fn names(graph: &Graph, into: &mut BTreeSet<String>) {
    for op in graph {
        match op {
            Op::Conv { weight, bias, .. } | Op::Scale { weight, bias } => {
                into.insert(weight.clone());
                into.extend(bias.clone());
            }
            Op::Gdn { beta, gamma, .. } => into.extend([beta.clone(), gamma.clone()]),
            Op::Residual { body } => names(body, into),
            Op::Gate { trunk, mask } => [trunk, mask].iter().for_each(|g| names(g, into)),
            Op::Concat { branches } => branches.iter().for_each(|g| names(g, into)),
            _ => {}
        }
    }
}

/// Rows of frequencies, all as long as the longest; each has an escape at its end.
pub fn tables(prefix: &str, rows: &[(i32, Vec<f64>)], tensors: &mut portable::Tensors) -> Tables {
    let n = rows.iter().map(|r| r.1.len()).max().unwrap_or(1);
    let mut frequencies = Vec::with_capacity(rows.len() * (n + 1));
    for (_, p) in rows {
        frequencies.extend(row(p, n));
    }
    let names = Tables { offset: format!("{prefix}.offset"), frequencies: format!("{prefix}.frequencies") };
    let offsets = rows.iter().map(|r| r.0).collect();
    tensors.insert(names.offset.clone(), portable::Tensor::i32(&[rows.len()], offsets));
    tensors.insert(names.frequencies.clone(), portable::Tensor::i32(&[rows.len(), n + 1], frequencies));
    names
}

/// Frequencies of a row and of its escape, the row filled up with zeros before that.
fn row(p: &[f64], n: usize) -> Vec<i32> {
    let sum: f64 = p.iter().sum();
    let mut all = p.to_vec();
    all.push((1.0 - sum).max(0.0));
    let mut f = frequencies(&all);
    let escape = f.pop().unwrap_or(1);
    f.resize(n, 0);
    f.push(escape);
    f
}
