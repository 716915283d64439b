"""The verb `bench profile`: cost of all trainings of a suite, or of one method's training step."""

from __future__ import annotations

import click

from bench.cli.options import Group
from bench.cli.profile_step import step_
from bench.cli.profile_suite import suite_


class ProfileGroup(Group):
    """Read `bench profile SUITE` and `bench profile --suite …` as `bench profile suite …`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; without a sub-command, `suite` is meant."""
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["suite", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ProfileGroup)
def profile() -> None:
    """Measure the cost of training: `bench profile --suite tiny`."""


profile.add_command(suite_)
profile.add_command(step_)
