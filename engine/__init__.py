"""engine: the experiment: sweeps, run directories, the structured log and the command line."""
