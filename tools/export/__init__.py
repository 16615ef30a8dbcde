"""python -m tools export: a trained network as a file for other programs, compared with itself."""

import argparse
import sys
from pathlib import Path

from tools.common.command_line import describe
from tools.common.network_options import add_network_options
from tools.export.options import ANSWERS, FORMATS, Options

_EPILOG = """\
formats:
  onnx         one file for onnxruntime and many others; any number of pictures of any size
  mindir       MindSpore's own; a fixed number of pictures (--batch) of a fixed size (--size)
  safetensors  the parameters alone, by the names of train/model
  torch        the parameters by PyTorch's names, and mtln_torch.py, which loads them

Pictures go in as uint8 (N, H, W, 3), red first: normalisation is inside. Every task has an answer
of its name. DIR holds the network, model.json and a model card, README.md. What was written is
loaded again and shown validation pictures of the run, or noise where its records are not on this
disk: if an answer differs, nothing is kept (exit code 2). More in docs/export.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    describe(parser, "Write the network of a run in a format that other programs read.", _EPILOG)
    add_network_options(parser)
    add = parser.add_argument
    add("--format", metavar="FORMAT", required=True, help=", ".join(FORMATS))
    add("--out", metavar="DIR", type=Path, required=True, help="folder to make")
    text = f"onnx, mindir: what comes out: {', '.join(ANSWERS)} (default: {ANSWERS[0]})"
    add("--answers", metavar="WHAT", help=text)
    add("--batch", metavar="N", type=int, help="mindir: pictures at once (default: 1)")
    text = "mindir, --deepness: height and width of a picture (default: as trained)"
    add("--size", metavar="PIXELS", type=int, help=text)
    text = "onnx: for the QGIS plugin Deepness: one segmentation task, float32 (N, 3, H, W) in 0..1"
    add("--deepness", action="store_true", help=text)
    text = "--deepness: ground resolution that the network was trained at"
    add("--resolution", metavar="CM", type=float, help=text)
    text = "torch: an interpreter that has torch, to compare with (default: this one)"
    add("--python", metavar="PATH", default=sys.executable, help=text)
    add("--license", metavar="TEXT", help="for the model card, such as CC-BY-4.0")
    add("--cite", metavar="TEXT", help="for the model card: what users should cite")
    add("--stac", action="store_true", help="write a STAC item with the MLM extension too")
    add("--overwrite", action="store_true", help="replace DIR once the new one is complete")


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    options = Options.of(arguments)
    from train import environment
    from train.errors import FAILURE, error_text
    from train.storage.retry import StorageError

    if options.form == "mindir":
        # Before anything is computed: what MindSpore exports is of its own operators.
        environment.cap_instructions()
    from tools.export.job import export

    try:
        export(options, lambda text: print(text, flush=True))
    except StorageError as error:
        print(error_text(error), file=sys.stderr)
        return FAILURE
    return 0
