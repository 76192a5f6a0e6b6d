"""Learned codecs beside others, and beside themselves with one axis changed: see README.md here."""

import argparse
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent.parent


def arguments():
    top = argparse.ArgumentParser(prog="bench/learned", description=__doc__)
    modes = top.add_subparsers(dest="mode", required=True)

    def add(name, text):
        p = modes.add_parser(name, help=text, description=text)
        p.add_argument("--out", type=Path, default=HERE / "docs/bench/learned", help="folder for CSV, JSON, PNG and README.md")
        if name != "report":
            p.add_argument("--lithify", default=str(HERE / "target/release/lithify"), help="the program")
            p.add_argument("--effort", type=int, default=5, help="of Lithify's codecs")
            p.add_argument("--limit", type=int, default=0, help="at most so many rasters, evenly spread")
            p.add_argument("--crop", type=int, default=0, help="the middle of each raster, so many rows and columns")
            p.add_argument("--json", action="store_true", help="print the result, too")
            p.add_argument("--name", required=True, help="of the set, and so of its files")
        return p

    p = add("compare", "a model beside JPEG 2000, JPEG XL and Lithify's other codecs")
    p.add_argument("--model", type=Path, required=True)
    p.add_argument("--peak", type=float, help="of PSNR; else 255 for bytes, the range of all samples for others")
    p.add_argument("--points", type=int, default=10, help="of each curve")
    p.add_argument("--between", type=int, default=2, help="rates between each two of the model")
    p.add_argument("--jxl-effort", type=int, default=9)
    p.add_argument("--codecs", type=lambda s: s.split(","), default=["wavelet", "predict", "auto"], help="of Lithify's others")
    p.add_argument("pictures", nargs="+", help="held-out GeoTIFF, .npy [band, row, column], JPEG, PNG")
    p = add("ablation", "short trainings of a configuration with one axis changed at a time")
    p.add_argument("config", type=Path, help="the base, TOML")
    p.add_argument("--data", required=True, help="pattern of files to learn from")
    p.add_argument("--train", default=str(HERE / "target/release/lithify-train"), help="the program")
    p.add_argument("--steps", type=int, default=500)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--axes", type=lambda s: s.split(","), default=["transform", "quantizer", "entropy", "objective"])
    p.add_argument("--keep", type=Path, help="folder for the models, and for going on after a break")
    p.add_argument("pictures", nargs="+", help="rasters that times are taken on")
    add("report", "write README.md and pictures again")
    return top.parse_args()


def main():
    args = arguments()
    if args.mode == "compare":
        from compare import compare

        compare(args)
    elif args.mode == "ablation":
        from ablation import ablation

        ablation(args)
    import report

    report.write(args.out)


main()
