"""protocols: what is said. Pure: bytes or text in, values out; no sockets, files, threads or clock."""
