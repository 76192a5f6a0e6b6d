//! What can be typed. Help, completions and the man page derive from this.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use lithify_codec::Codec;
use lithify_io::job::at::Place;
use lithify_io::job::select::Selection;
use lithify_io::policy::BoundRule;

/// Earth data turned to stone: far smaller, with a promise about the error that is checked value by value.
#[derive(Debug, Parser)]
#[command(name = "lithify", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 success, 1 runtime failure, 2 usage, 3 a bound or a verification failed, 4 corrupt or unsupported input, 5 a learned model is missing."
)]
pub struct Cli {
    /// A model file that learned payloads may need, and that --codec auto may choose for chunks that fit it; those that a store or the
    /// directory $LITHIFY_MODELS holds are found for reading by themselves. Can be given several times
    #[arg(long = "model", global = true, value_name = "FILE")]
    pub models: Vec<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compress a NetCDF, GRIB, Zarr, GeoTIFF, JPEG, PNG or .npy file to a Zarr store (.zarr, .zarr.zip) or a NetCDF-4 file (.nc)
    Compress(Compress),
    /// Put a file to the end of a store, along one dimension
    Append(Append),
    /// Write a store back as NetCDF, GeoTIFF, .npy or plain Zarr
    Decompress(Decompress),
    /// Say what a file holds, how it is stored and what is promised
    Info(Info),
    /// Check a store or a compressed .nc file: checksums and lineage, and every value if the original is given
    Verify(Verify),
    /// Compare two files value by value: errors, correlations, distributions
    Compare(Compare),
    /// Read a part of one variable, fetching only the chunks that it needs
    Extract(Extract),
    /// Train a learned codec: runs the program lithify-train, whose --help says how
    #[command(disable_help_flag = true)]
    Train {
        /// CONFIG --data GLOB --out MODEL, and what else lithify-train takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
    /// Print a completion script for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Write the man pages
    Man {
        /// Directory for them
        dir: PathBuf,
    },
}

/// How a job runs.
#[derive(Debug, Args)]
pub struct Running {
    /// Worker threads; 0 is one per core. The output does not depend on it
    #[arg(short = 'T', long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// `compress`
#[derive(Debug, Args)]
pub struct Compress {
    /// NetCDF-3/4, GRIB1/2, Zarr v2/v3, GeoTIFF, JPEG, PNG or .npy: a path, a URL (s3://, gs://, az://, https://), or - for standard input
    pub input: PathBuf,
    /// A .zarr directory, a .zarr.zip file, a URL of one (s3://, gs://, az://), - for a .zarr.zip on standard output, or a .nc file that
    /// other programs read with the HDF5 plugin
    pub output: PathBuf,
    /// What must hold: abs=, rel=, range=, l2=, l2-block=, psnr=, ratio=, bytes=, bits= or lossless, several joined by commas; for
    /// one variable as T:abs=0.05. Can be given several times. Without any, every bit is kept
    #[arg(short, long = "bound", value_name = "[VAR:]BOUND", long_help = BOUND_HELP)]
    pub bounds: Vec<BoundRule>,
    /// How lossy variables are coded, with parameters after commas
    #[arg(long, default_value = "auto", value_name = "SPEC", value_parser = lithify_io::learned::codec, long_help = codec_help())]
    pub codec: Codec,
    /// Put the model of a learned codec, or those that auto may choose, into the store, so that it can be read anywhere
    #[arg(long)]
    pub embed_model: bool,
    /// 1 (fast) to 9 (small)
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub effort: u8,
    /// Chunk lengths by dimension, over the automatic ones: lat=180,lon=360. Along the first dimension and unlimited ones a chunk may be
    /// longer than the file, for what is appended later
    #[arg(long, value_delimiter = ',', value_name = "DIM=N", value_parser = chunk_length)]
    pub chunks: Vec<(String, usize)>,
    /// Only these variables, with their coordinates
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub vars: Vec<String>,
    /// Draw original, reconstruction and error of a slice of the first lossy variable
    #[arg(long, value_name = "FILE.png")]
    pub picture: Option<PathBuf>,
    /// Have a Dask cluster do it, given its scheduler's address. Workers must see both paths; the Python package must be installed
    /// ($LITHIFY_PYTHON, or python3)
    #[arg(long, value_name = "tcp://HOST:PORT", conflicts_with = "picture")]
    pub dask: Option<String>,
    /// Replace an output that exists
    #[arg(short, long)]
    pub force: bool,
    #[command(flatten)]
    pub running: Running,
}

/// `append`
#[derive(Debug, Args)]
pub struct Append {
    /// A file of the store's variables, as compress takes it, that goes on where the store ends
    pub input: PathBuf,
    /// A .zarr directory or a .zarr.zip file that lithify wrote. Every variable keeps its bound, codec and effort
    pub store: PathBuf,
    /// The dimension that grows
    #[arg(long, value_name = "NAME")]
    pub dim: String,
    #[command(flatten)]
    pub running: Running,
}

/// `decompress`
#[derive(Debug, Args)]
pub struct Decompress {
    /// A store, or any file that can be read; URLs and - as for compress
    pub input: PathBuf,
    /// A file or URL ending in .nc, .tif, .npy, .zarr or .zarr.zip, or - for .npy on standard output
    pub output: PathBuf,
    /// Write what was promised and achieved as attribute `lithify` of each variable
    #[arg(long)]
    pub lineage: bool,
    /// Replace an output that exists
    #[arg(short, long)]
    pub force: bool,
    #[command(flatten)]
    pub running: Running,
}

/// `info`
#[derive(Debug, Args)]
pub struct Info {
    /// Any file that can be read
    pub input: PathBuf,
    /// Read the floating-point data and say how much real information each bit of a value holds
    #[arg(long)]
    pub bits: bool,
    /// Only these variables
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub vars: Vec<String>,
    #[command(flatten)]
    pub running: Running,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// A store, or a NetCDF file
    pub store: PathBuf,
    /// Check every value against the original
    #[arg(long, value_name = "ORIGINAL")]
    pub against: Option<PathBuf>,
    #[command(flatten)]
    pub running: Running,
}

/// `compare`
#[derive(Debug, Args)]
pub struct Compare {
    /// The original
    pub original: PathBuf,
    /// What is to be judged
    pub decoded: PathBuf,
    /// Only these variables
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub vars: Vec<String>,
    #[command(flatten)]
    pub running: Running,
}

/// `extract`
#[derive(Debug, Args)]
pub struct Extract {
    /// A store, or any file that can be read
    pub store: PathBuf,
    /// The variable
    pub variable: String,
    /// A file or URL ending in .nc, .tif, .npy, .zarr or .zarr.zip, or - for .npy on standard output; none with --at
    #[arg(required_unless_present = "at", conflicts_with = "at")]
    pub output: Option<PathBuf>,
    /// Print the value at any latitude and longitude, in degrees north and east: bilinear between grid points, or by the network where the
    /// codec is inr. Can be given several times
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true, conflicts_with = "force")]
    pub at: Vec<Place>,
    /// The part: time=3, time=0:10 (indices), lat=30..60 (coordinates, inclusive), lat=~30.2 (nearest), joined by commas
    #[arg(long, default_value = "", value_name = "SELECTION")]
    pub sel: Selection,
    /// Replace an output that exists
    #[arg(short, long)]
    pub force: bool,
    #[command(flatten)]
    pub running: Running,
}

const BOUND_HELP: &str = "\
What must hold for each value x and what becomes of it, x'; several joined by commas; for one variable as T:abs=0.05. Can be given
several times. Without any, every bit is kept:
  abs=e        |x - x'| <= e
  rel=e        |x - x'| <= e |x|; zeros and signs stay
  range=e      |x - x'| <= e (largest - smallest value of the variable)
  l2=e         relative Frobenius norm of the error over the variable; l2-block: in each block
  psnr=d       peak signal-to-noise ratio over the variable, dB
  ratio=r      uncompressed size over stored size of the variable's chunks, at least r and at most 1 % more
  bytes=n      stored bytes of the variable's chunks, at most n (2MB, 500KiB, ...) and at most 1 % fewer
  bits=k       floats rounded to k mantissa bits, then kept exactly; auto: as many as hold 99 % of the real information
  lossless     every bit
ratio and bytes find the smallest absolute error that fits, one for the whole variable; bounds beside them are limits to it";

/// The rows of the codec table with their parameters.
fn codec_help() -> String {
    let mut help = String::from("How lossy variables are coded, with parameters after commas:");
    for stage in lithify_codec::transform::TRANSFORMS {
        help += &format!("\n  {:14} {}", stage.name, stage.doc);
        for p in stage.params {
            help += &format!("\n  {:14}   {}= {}", "", p.name, p.doc);
        }
    }
    help + "\n  lossless       every bit\n  auto           whichever of predict, wavelet, tensor and lossless is smallest on a sample, and models given by --model where chunks fit them"
}

fn chunk_length(s: &str) -> Result<(String, usize), String> {
    let (dim, n) = s.split_once('=').ok_or("a chunk length is DIM=N")?;
    match n.trim().parse() {
        Ok(n) if n > 0 => Ok((dim.trim().into(), n)),
        _ => Err(format!("the chunk length of {dim} must be a whole number of at least 1")),
    }
}
