"""A blinded rating study (real or synthetic, quality 0 to 5) of a finished run, answered in the browser."""
