"""A blinded rating study: real or fake, and how good? Built from a finished run, answered in the browser."""
