"""The regression check: a suite run fresh, held against a stored baseline with measured tolerances.

``collect`` and ``costs`` and ``guards`` find the rows, ``numerics`` the run-to-run spread, ``baseline`` keeps both,
``identity`` tells whether numbers must be equal to the last bit, ``compare`` compares, ``junit`` and ``summary`` write
it down.
"""
