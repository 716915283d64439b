"""A new run of a suite, and all rows that are compared."""

from __future__ import annotations

from bench.check.collect import collect
from bench.check.costs import cost_rows
from bench.check.disjoint import disjoint_rows
from bench.check.leakage_checks import leakage_check_rows
from bench.check.rows import Row
from bench.engine.executors.local import make_executor
from bench.engine.executors.threads import limit_threads
from bench.engine.scheduler import Listener, Runner
from bench.engine.session import Session, pick_jobs

COST_THREADS = 1  # steps and reference are measured in one thread, whose waiting time for a core is known


def measure(session: Session, jobs: int | None, costs: int = 1, listener: Listener | None = None) -> list[Row]:
    """Run the unfinished cells of the suite in the session's folder, and return all rows.

    No report, no MLflow, no charts. A failed cell has only its status as a row. Steps are measured ``costs`` times; 0:
    not at all.
    """
    runner = Runner(session.plan.cells, session.env, (listener,) if listener else ())
    jobs, threads = pick_jobs(jobs, session.env.device, session.suite.settings.threads)
    if runner.reuse():
        runner.run(lambda: make_executor(jobs, threads))
    limit_threads(COST_THREADS)
    rows = collect(session)
    rows += disjoint_rows(session) + leakage_check_rows(session)
    return rows + cost_rows(session, times=costs)
