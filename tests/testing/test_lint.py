import pytest

from microweb.testing import Lint, LintError
from tests.testing.scripts import BODY, START, Server, check, http_scope, scripted

pytestmark = pytest.mark.anyio


async def test_an_unknown_protocol_is_not_its_business():
    sent = await check({"type": "mqtt"}, {"type": "anything"})

    assert sent == [{"type": "anything"}]


async def test_one_call_does_not_answer_for_another():
    async def app(scope, receive, send):
        if scope["path"] == "/bad":
            await send(BODY)
        await send(START)
        await send(BODY)

    server = Server()
    lint = Lint(app)
    with pytest.raises(LintError):
        await lint(http_scope(path="/bad"), server.receive, server.send)

    await lint(http_scope(), server.receive, server.send)

    with pytest.raises(LintError):
        lint.check()


async def test_without_faults_the_check_is_quiet():
    server = Server()
    lint = Lint(scripted(START, BODY))

    await lint(http_scope(), server.receive, server.send)

    lint.check()
    assert lint.faults == []
