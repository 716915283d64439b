"""``bench selftest``: the harness judged on itself."""
