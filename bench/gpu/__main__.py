"""``python -m bench.gpu``: run the GPU list in a time budget. Exit code 0 if all parts that ran are done, else 1."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",  # no part needs a network
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # looking for a device must not start CUDA in the process that forks
}


def main() -> int:
    """Read the options, run the parts, write the summary, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description="GPU checks and measurements, resumable.")
    parser.add_argument("--budget", type=float, default=480, metavar="S", help="seconds for everything (default 480)")
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"), help="results (default reports/gpu)")
    parser.add_argument("--device", default=None, help="cuda, cuda:1 or cpu; default cuda, of the dry form cpu")
    parser.add_argument("--dry", action="store_true", help="tiny sizes: try everything in seconds")
    options = parser.parse_args()
    for name, value in {**ENVIRONMENT, **({"OMP_NUM_THREADS": "1"} if options.dry else {})}.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the running part, and writes the summary
    try:
        from bench.gpu.runner import FINE, Settings, last_line, run_parts
        from bench.gpu.summary import write_summary
    except ImportError as e:
        print(f"{sys.executable}: {e}; use a Python with torch: make gpu PYTHON=/path/to/python", file=sys.stderr)
        return 1
    device = options.device or ("cpu" if options.dry else "cuda")
    folder = os.environ.get("BENCH_DATA", "")
    data = Path(folder).expanduser().resolve() if folder and not options.dry else None
    settings = Settings(options.out.expanduser().resolve(), device, options.budget, options.dry, data)
    try:
        ran = run_parts(settings)
    except (RuntimeError, ImportError) as e:
        print(f"{last_line(str(e))}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit):
        print(f"stopped; the next call continues. {write_summary(settings.out)}", file=sys.stderr)
        return 1
    print(write_summary(settings.out))
    return 0 if all(record.status in FINE for record in ran) else 1


if __name__ == "__main__":
    sys.exit(main())
