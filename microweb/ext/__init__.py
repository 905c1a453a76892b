"""Extensions: each a file or folder of its own, loaded by the program that asks for it, on public names only."""
