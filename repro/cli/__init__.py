"""The command line: parse, call, print. What the verbs do is done by the harness, the data sets and the engine.

One module a group of verbs. None of them imports at its top what takes longer than a blink (pandas, scipy, pydantic,
torch, Detectron2): ``repro --help`` answers at once, and a verb pays only for what it uses.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit: the entry point of ``repro`` and of ``python -m repro``."""
    import warnings

    from repro.cli.app import app

    # fvcore, which comes with Detectron2, decorates with torch.jit.script when it is imported; torch 2.14 warns of it.
    warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)
    app(prog_name="repro")
