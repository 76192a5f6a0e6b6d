//! Entropy models: integer symbols to bits and back.
//!
//! Everything that decides a probability is integer arithmetic, so a stream decodes to the same symbols on any machine.
//! Models are generic over [`BinaryCoder`]: the same function encodes, decodes and prices, so the three cannot drift apart.

pub mod mixing;
pub mod multi;
pub mod range;
pub mod rans;

pub use mixing::{BitModel, IntModel};
pub use range::{BinaryCoder, Decoder, Encoder, Price};
