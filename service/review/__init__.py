"""Review, the use case of a hook call: its steps in order. DTR shares the decide step."""
