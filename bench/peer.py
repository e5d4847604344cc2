"""Runs the PRD's own Node server beside ours, with the same number of exams; never books anything there."""

import asyncio
import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from load import up

from lastseat.embedded.ports import free_port

BESIDE = Path(__file__).parents[2] / "shared" / "peers" / "prd-node"
AVAILABLE = "/api/mock-exams/available"
DATABASE = "peer"
REDIS_NUMBER = "5"


@contextlib.asynccontextmanager
async def prd_node(folder, embedded, hubspot_url, exams):
    """(port, pid). `PRD_NODE` names the peer's folder; npm fetches what it needs into a copy."""
    source = Path(os.environ.get("PRD_NODE", BESIDE))
    copy = folder / "prd-node"
    await asyncio.to_thread(_install, source, copy)
    await _fill(embedded.postgres_url, (copy / "schema.sql").read_text(), exams)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "node",
        "server.js",
        cwd=copy,
        stdout=subprocess.DEVNULL,
        env={
            **os.environ,
            "NODE_ENV": "production",
            "DATABASE_URL": _database(embedded.postgres_url),
            "REDIS_URL": embedded.redis_url.rpartition("/")[0] + f"/{REDIS_NUMBER}",
            "CRM_URL": hubspot_url,
            "PORT": str(port),
            "QUIET": "1",
        },
    )
    try:
        await up(port, AVAILABLE)
        yield port, process.pid
    finally:
        process.terminate()
        await process.wait()


def _install(source, copy):
    shutil.copytree(source, copy)
    for path in (copy, *copy.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    command = ["npm", "install", "--prefix", str(copy), "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


async def _fill(url, schema, exams):
    connection = await asyncpg.connect(url)
    await connection.execute(f"create database {DATABASE}")
    await connection.close()
    connection = await asyncpg.connect(_database(url))
    await connection.execute(schema)
    await connection.execute("delete from hubspot_mock_exams where exam_date > current_date + $1::int", exams)
    await connection.close()


def _database(url):
    return urlunsplit(urlsplit(url)._replace(path=f"/{DATABASE}"))
