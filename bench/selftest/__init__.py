"""``bench selftest``: simulation tests of the harness's statistics."""
