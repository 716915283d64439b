"""The regression check: a suite is run from scratch and compared with a stored baseline with measured tolerances.

``collect``, ``costs`` and ``leakage_checks`` compute the rows, ``numerics`` the run-to-run spread, ``baseline`` stores
both, ``identity`` decides whether values must be bit-identical, ``compare`` compares, ``junit`` and ``summary`` write
reports.
"""
