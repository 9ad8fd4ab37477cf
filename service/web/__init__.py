"""HTTP: parse, hand over, translate errors. The only room that imports Flask."""
