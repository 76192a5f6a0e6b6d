//! One graph language, two executors: burn's and the portable one agree on every op.

use burn_tensor::Device;
use lithify_codec::learned::activation::Activation;
use lithify_codec::learned::graph::{Graph, Kind, Shape, check};
use lithify_codec::learned::real::RealNet;
use lithify_learned::forward;
use lithify_learned::params::{Params, floats, vector};

/// Batch, channels, depth, rows, columns of the input.
const INPUT: [usize; 5] = [2, 4, 3, 8, 12];

fn agree(json: &str) {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut draw = |n: usize, low: f32, high: f32| (0..n).map(|_| low + rng.f32() * (high - low)).collect::<Vec<_>>();
    let device = Device::flex();
    let mut params = Params::new(&device);
    params.set("w3", &[6, 4, 3, 3, 3], draw(6 * 4 * 27, -0.3, 0.3));
    params.set("w5", &[6, 2, 1, 5, 3], draw(6 * 2 * 15, -0.3, 0.3));
    params.set("w1", &[4, 4, 1, 1, 1], draw(16, -0.5, 0.5));
    params.set("plane", &[4, 4, 1, 3, 3], draw(144, -0.3, 0.3));
    params.set("b6", &[6], draw(6, -1.0, 1.0));
    params.set("b4", &[4], draw(4, -1.0, 1.0));
    params.set("beta", &[4], draw(4, 0.5, 1.5));
    params.set("gamma", &[4, 4], draw(16, 0.0, 0.3));
    let graph: Graph = serde_json::from_str(json).expect("a graph");
    let tensors = params.portable();
    check(&graph, Kind::Real, &tensors, 2, Shape::input(4)).expect("a sound graph");
    let (x, side) = (draw(INPUT.iter().product(), -2.0, 2.0), draw(4, -1.0, 1.0));
    let batch = vector(x.clone(), &device).reshape(INPUT);
    let sides = vector(side.clone(), &device).reshape([2, 2]);
    let got = floats(forward::run(&graph, &params, batch, Some(&sides)).expect("burn"));
    let net = RealNet::new(&graph, &tensors).expect("a network");
    let [n, c, d, h, w] = INPUT;
    let mut want = Vec::new();
    for (x, side) in x.chunks_exact(x.len() / n).zip(side.chunks_exact(2)) {
        want.extend(net.run(Activation { shape: [c, d, h, w], data: x.to_vec() }, side).expect("portable").data);
    }
    assert_eq!(got.len(), want.len(), "{json}");
    for (a, b) in got.iter().zip(&want) {
        assert!((a - b).abs() < 1e-4, "{json}: {a} {b}");
    }
}

#[test]
fn executors_agree_on_every_op() {
    for op in [
        r#"{"op":"conv","weight":"w3","bias":"b6"}"#,
        r#"{"op":"conv","weight":"w3","stride":[3,2,2]}"#,
        r#"{"op":"conv","weight":"w5","bias":"b6","stride":[1,2,1],"groups":2}"#,
        r#"{"op":"conv","weight":"w1","bias":"b4"}"#,
        r#"{"op":"conv","weight":"plane"}"#,
        r#"{"op":"shuffle","factor":[1,2,2]}"#,
        r#"{"op":"shuffle","factor":[2,1,2]}"#,
        r#"{"op":"unshuffle","factor":[3,2,4]}"#,
        r#"{"op":"gdn","beta":"beta","gamma":"gamma"}"#,
        r#"{"op":"gdn","beta":"beta","gamma":"gamma","inverse":true}"#,
        r#"{"op":"relu"}"#,
        r#"{"op":"leaky_relu","slope":0.125}"#,
        r#"{"op":"residual","body":[{"op":"conv","weight":"w1"},{"op":"relu"}]}"#,
        r#"{"op":"gate","trunk":[{"op":"conv","weight":"w1"}],"mask":[{"op":"conv","weight":"plane","bias":"b4"}]}"#,
        r#"{"op":"concat","branches":[[],[{"op":"conv","weight":"w3"}]]}"#,
        r#"{"op":"wavelet","kind":"haar"}"#,
        r#"{"op":"wavelet","kind":"cdf97"}"#,
        r#"{"op":"wavelet","kind":"haar","inverse":true}"#,
        r#"{"op":"wavelet","kind":"cdf97","inverse":true}"#,
        r#"{"op":"scale","weight":"b4","bias":"beta"}"#,
        r#"{"op":"scale","weight":"b4"}"#,
        r#"{"op":"side","channels":2}"#,
    ] {
        agree(&format!("[{op}]"));
    }
    agree(
        r#"[{"op":"wavelet","kind":"cdf97"},{"op":"unshuffle","factor":[1,4,3]},{"op":"shuffle","factor":[1,4,3]},
        {"op":"wavelet","kind":"cdf97","inverse":true},{"op":"unshuffle","factor":[3,1,1]}]"#,
    );
}
