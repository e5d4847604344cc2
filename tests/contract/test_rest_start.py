"""`lastseat serve` before the real PostgREST and Supabase's gateway: a wrong key never gets a site announced."""

import secrets

import pytest
from click.testing import CliRunner, Result

from lastseat.cli import main
from lastseat.cli.standing import need_current, standing_of
from lastseat.embedded.ports import free_port
from lastseat.settings import load
from tests.contract.servers import Servers
from tests.contract.ways import LANE, Way, way_to

REST = [name for name in LANE if "key" in name]


@pytest.fixture(params=REST)
def rest_way(request: pytest.FixtureRequest, servers: Servers) -> Way:
    return way_to(request.param, servers, lambda: "")


def serve(way: Way, key: str) -> Result:
    environment = {
        "SUPABASE_URL": way.url,
        "SUPABASE_REST_PATH": way.rest_path,
        "SUPABASE_SERVICE_KEY": key,
        "REDIS_URL": "redis://127.0.0.1:9",
        "HUBSPOT_ACCESS_TOKEN": "pat-x",
        "SUPABASE_JWT_SECRET": "a-secret-of-this-test-that-is-long-enough",
    }
    return CliRunner().invoke(main, ["serve", "--port", str(free_port())], env=environment, prog_name="lastseat")


def test_a_key_of_another_project_is_refused(rest_way: Way, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SUPABASE_DB_URL", raising=False)
    monkeypatch.setattr("lastseat.cli.serving._serve", lambda *_: pytest.fail("the site was announced"))
    result = serve(rest_way, "sb_secret_" + secrets.token_hex(12))
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert "SUPABASE_SERVICE_KEY was refused" in line


async def test_with_its_key_the_transport_and_the_schema_are_known(rest_way: Way):
    standing = await standing_of(
        load(supabase_url=rest_way.url, supabase_rest_path=rest_way.rest_path, supabase_service_key=rest_way.key)
    )
    need_current(standing)
    assert standing.transport.startswith("REST, PostgREST at 127.0.0.1:")
    assert rest_way.key[:7] not in standing.transport
    assert standing.open == []
