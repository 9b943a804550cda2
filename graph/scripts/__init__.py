"""Scripts: several statements in one text, executed one after the other."""
