"""The snapshot in force: held by the server process, answered by in all of its workers."""
