"""Which servers there are, how each of them is, and who is the writer."""
