from collections.abc import Iterator

import pytest

from polymode.sandbox import Limits, Outcome, ProgramTests, Result, Sandbox, reason_unavailable

FAST = Limits(cpu_seconds=1, wall_seconds=20, memory_bytes=256 * 2**20)
"""Short of processor time; the clock allows for machines that are busy with other things."""


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox with one worker, so that programs follow each other in the same one."""
    reason = reason_unavailable()
    if reason is not None:
        pytest.skip(f"no sandbox here: {reason}")
    with Sandbox(1, limits=FAST) as found:
        yield found


@pytest.fixture(params=["isolated", "unsafe_local"])
def any_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """With and without isolation."""
    if request.param == "isolated":
        yield request.getfixturevalue("sandbox")
    else:
        with Sandbox(1, limits=FAST, unsafe_local=True) as found:
            yield found


class Judge:
    """Short ways to ask the sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def result(self, program: str, *asserts: str, **fields: object) -> Result:
        tests = ProgramTests(asserts or ("assert f(2) == 4",), **fields)  # type: ignore[arg-type]
        return self.sandbox.run([(program, tests)])[0]

    def outcome(self, program: str, *asserts: str, **fields: object) -> Outcome:
        return self.result(program, *asserts, **fields).outcome

    def value(self, program: str, call: str = "f()") -> object:
        """What a call gives, for data that are their own JSON form; lists without their tag."""
        (line,) = self.sandbox.evaluate(program, [call])
        value = line.get("value", line.get("error"))
        return value[1:] if isinstance(value, list) else value


@pytest.fixture
def judge(sandbox: Sandbox) -> Judge:
    return Judge(sandbox)


@pytest.fixture
def any_judge(any_sandbox: Sandbox) -> Judge:
    return Judge(any_sandbox)
