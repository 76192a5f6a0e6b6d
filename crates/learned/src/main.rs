//! `lithify-train CONFIG --data GLOB --out MODEL`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use burn_tensor::Device;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use lithify_io::atomic;
use lithify_learned::config::Config;
use lithify_learned::data::Corpus;
use lithify_learned::evaluate::mean_loss;
use lithify_learned::train::{History, Observer, train};
use lithify_learned::{Error, coded, export, plot};

/// Trains a learned codec
///
/// Beside MODEL lie, while it runs, MODEL.checkpoint, and in the end MODEL.curves.png and MODEL.rates.png.
#[derive(Debug, Parser)]
#[command(name = "lithify-train", version)]
struct Cli {
    /// What to train: TOML with [transform], [quantizer], [entropy], [objective], [data], [train]
    config: PathBuf,
    /// Files to learn from, a pattern in quotes
    #[arg(long, value_name = "GLOB")]
    data: String,
    /// The model file to write
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,
    /// Go on from MODEL.checkpoint
    #[arg(long)]
    resume: bool,
    /// Instead of train.seed
    #[arg(long)]
    seed: Option<u64>,
    /// Instead of train.steps
    #[arg(long)]
    steps: Option<usize>,
    /// Where to compute
    #[arg(long, value_enum, default_value = "cpu")]
    device: On,
    /// A line of JSON for each evaluation, and one at the end
    #[arg(long)]
    json: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum On {
    /// All cores
    Cpu,
    /// The first NVIDIA GPU, in builds that have it
    Cuda,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("lithify-train: {e:#}");
            ExitCode::from(code(&e))
        }
    }
}

/// 2: what was asked for; 4: a file that is not what it should be; 1: anything else.
fn code(e: &anyhow::Error) -> u8 {
    match e.downcast_ref::<Error>() {
        Some(Error::Config(_) | Error::Data(_)) => 2,
        Some(Error::Corrupt { .. }) => 4,
        _ => 1,
    }
}

fn run(cli: &Cli) -> Result<()> {
    let mut config = Config::read(&cli.config)?;
    config.train.seed = cli.seed.unwrap_or(config.train.seed);
    config.train.steps = cli.steps.unwrap_or(config.train.steps);
    let device = device(cli.device)?;
    // Before hours of work: can the model be written where it shall be?
    let dir = cli.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::NamedTempFile::new_in(dir).with_context(|| format!("{} cannot be written", cli.out.display()))?;
    let corpus = Corpus::read(&cli.data, &config.data, config.transform.volume, &config.objective.quality)?;
    if !cli.quiet && !cli.json {
        let (train, held_out) = (corpus.places(false), corpus.places(true));
        eprintln!("{} places to learn from, {} held out, {} bands", train.len(), held_out.len(), corpus.bands());
    }
    let checkpoint = beside(&cli.out, "checkpoint");
    let mut screen = Screen::new(config.train.steps, cli);
    let trained = train(&config, &corpus, &device, Some(&checkpoint), cli.resume, &mut screen)?;
    screen.bar.finish_and_clear();
    if trained.stopped {
        eprintln!("stopped; --resume goes on from {}", checkpoint.display());
        return Ok(());
    }
    let points = trained.history.held_out.iter().min_by(|a, b| mean_loss(&a.1).total_cmp(&mean_loss(&b.1)));
    let points = points.map_or(&[][..], |p| p.1.as_slice());
    let model = export::model(&trained.codec, &corpus, points)?;
    let coded = coded::measure(&model, &corpus, &corpus.held_out(config.train.eval_tiles, config.eval_tile()))?;
    atomic::write(&cli.out, model.as_bytes())?;
    plot::curves(&beside(&cli.out, "curves.png"), &trained.history)?;
    plot::rates(&beside(&cli.out, "rates.png"), points)?;
    if cli.json {
        let end = serde_json::json!({
            "model": cli.out, "hash": model.hash().to_string(), "bytes": model.as_bytes().len(),
            "steps": trained.history.step, "points": points, "coded": coded,
        });
        println!("{end}");
    } else if !cli.quiet {
        println!("{}  {} bytes  {}", cli.out.display(), model.as_bytes().len(), model.hash());
        for (p, c) in points.iter().zip(&coded) {
            println!(
                "  lambda {:<10} {:.4} bits per sample ({:.4} estimated)  {:.2} dB",
                p.lambda, c.bits_per_sample, p.bits_per_sample, c.psnr_db
            );
        }
    }
    Ok(())
}

fn device(on: On) -> Result<Device, Error> {
    match on {
        On::Cpu => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        On::Cuda => Ok(Device::cuda(0)),
        #[cfg(not(feature = "cuda"))]
        On::Cuda => Err(Error::Config("this build has no CUDA; build lithify-learned with --features cuda".into())),
    }
}

/// MODEL with an ending more.
fn beside(model: &Path, ending: &str) -> PathBuf {
    let mut name = model.as_os_str().to_os_string();
    name.push(".");
    name.push(ending);
    name.into()
}

/// A progress bar on a terminal, or lines of JSON.
struct Screen {
    bar: ProgressBar,
    json: bool,
    smooth: Option<f64>,
}

static STOP: AtomicBool = AtomicBool::new(false);

impl Screen {
    fn new(steps: usize, cli: &Cli) -> Self {
        // A second handler in a process is refused; then the first one still works.
        let _ = ctrlc::set_handler(|| STOP.store(true, Ordering::Relaxed));
        let bar = if cli.quiet || cli.json { ProgressBar::hidden() } else { ProgressBar::new(steps as u64) };
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {msg}  {eta}") {
            bar.set_style(style);
        }
        Self { bar, json: cli.json, smooth: None }
    }
}

impl Observer for Screen {
    fn step(&mut self, step: usize, loss: f64) {
        let smooth = self.smooth.map_or(loss, |s| 0.95 * s + 0.05 * loss);
        self.smooth = Some(smooth);
        self.bar.set_position(step as u64);
        self.bar.set_message(format!("loss {smooth:.4}"));
    }

    fn evaluated(&mut self, history: &History) {
        let Some((step, points)) = history.held_out.last() else { return };
        if self.json {
            let train = history.train.last();
            println!("{}", serde_json::json!({ "step": step, "train": train, "held_out": points }));
        } else {
            self.bar.println(format!("step {step}: held-out loss {:.4}", mean_loss(points)));
        }
    }

    fn stop(&mut self) -> bool {
        STOP.load(Ordering::Relaxed)
    }
}
