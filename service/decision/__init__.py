"""Decision core, pure: values in, a Determination with its trace out. Standard library only."""
