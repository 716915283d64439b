"""Pages that bench serves on this machine: no framework in the browser, nothing that leaves the machine."""
