"""A generative method that ends in ways a plug-in should not, chosen by its config."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from toy import Toy, ToyConfig

from bench.interfaces import RunContext, TrainingData


@dataclass(frozen=True)
class FaultyConfig(ToyConfig):
    end: str = "well"
    once: str = ""  # a file: the fault happens only while it is absent, and makes it
    wait_for: str = ""  # a file: training goes on until it is there


class OwnError(BaseException):
    """Not an ``Exception``."""


class Faulty(Toy):
    Config = FaultyConfig
    config: FaultyConfig

    def fit(self, data: TrainingData, ctx: RunContext) -> None:
        deadline = time.monotonic() + 60
        while self.config.wait_for and not Path(self.config.wait_for).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        if not (self.config.once and Path(self.config.once).exists()):
            if self.config.once:
                Path(self.config.once).touch()
            end(self.config.end)
        super().fit(data, ctx)


def end(how: str) -> None:
    """End the cell, or the process that it runs in."""
    match how:
        case "sys.exit(0)":
            sys.exit(0)
        case "sys.exit(5)":
            sys.exit(5)
        case "os._exit(0)":
            os._exit(0)
        case "KeyboardInterrupt":
            raise KeyboardInterrupt
        case "BaseException":
            raise OwnError("not an Exception")
        case "MemoryError":
            raise MemoryError
        case "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
