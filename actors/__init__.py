"""actors: what lives. Owns every thread, socket, pipe and child process."""
