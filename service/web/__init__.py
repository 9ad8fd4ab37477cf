"""HTTP adapter: views parse, hand over and translate errors. The only room that imports Flask."""
