"""What a node needs on a board: how it starts, proves itself healthy, and gets onto a network."""
