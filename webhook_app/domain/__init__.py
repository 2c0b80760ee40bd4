"""Facts and pure decisions; standard library only. Nothing here reads a clock, a file or a socket."""
