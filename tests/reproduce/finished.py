"""Stand-in for the process of an arm."""


class Finished:
    """An arm's process that ran here, where importing torch a second time costs nothing."""

    def __init__(self, code: int) -> None:
        self.returncode = code

    def poll(self) -> int:
        return self.returncode

    def terminate(self) -> None:
        raise AssertionError("nothing is running")
