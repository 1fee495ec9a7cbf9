"""g5k: the testbed Grid'5000. Only its door for now."""
