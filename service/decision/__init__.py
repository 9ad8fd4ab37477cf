"""The pure decision core: values in, a Determination with its trace out. Standard library only."""
