//! Training of learned codecs.
