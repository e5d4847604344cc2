"""Runs the PRD's own Node server beside ours: the same exams, the same stores, a HubSpot of its own."""

import asyncio
import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import redis.asyncio
from load import up

from lastseat.embedded.ports import free_port
from lastseat.rehearsal.portal import TOKEN, Portal

BESIDE = Path(__file__).parents[2] / "shared" / "peers" / "prd-node"
AVAILABLE = "/api/mock-exams/available"
DATABASE = "peer"
REDIS_NUMBER = "5"
BOOKINGS = "2-50158943"
COLUMNS = ("mock_exam_name", "mock_type", "exam_date", "start_time", "end_time", "location")


@contextlib.asynccontextmanager
async def prd_node(folder, embedded, exams, *, hubspot_limit, hubspot_latency_ms):
    """(port, pid). `PRD_NODE` names the peer's folder; npm fetches what it needs into a copy."""
    source = Path(os.environ.get("PRD_NODE", BESIDE))
    copy = folder / "prd-node"
    await asyncio.to_thread(_install, source, copy)
    await _fill(embedded.postgres_url, (copy / "schema.sql").read_text(), exams)
    redis_url = embedded.redis_url.rpartition("/")[0] + f"/{REDIS_NUMBER}"
    async with redis.asyncio.Redis.from_url(redis_url) as counters:
        await counters.mset({f"capacity:{exam.exam_id}": exam.seats for exam in exams})
    # Not ours: bookings of strangers in our HubSpot would be work for our relay.
    portal = Portal(folder / "peer-hubspot", limit=hubspot_limit, latency_ms=hubspot_latency_ms)
    async with contextlib.AsyncExitStack() as parts:
        parts.callback(portal.stop)
        await portal.start()
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
                "REDIS_URL": redis_url,
                "CRM_URL": portal.url,
                "CRM_TOKEN": TOKEN,
                "CRM_TYPE": BOOKINGS,
                "PORT": str(port),
                "QUIET": "1",
            },
        )
        parts.push_async_callback(process.wait)
        parts.callback(process.terminate)
        await up(port, AVAILABLE)
        yield port, process.pid


def wish(student, exam):
    """A booking as the PRD's page would send it."""
    return {
        "examId": exam.exam_id,
        "contactId": student.contact_id,
        "studentId": student.properties["student_id"],
        "name": student.name,
        "email": student.properties["email"],
        "attendingLocation": exam.properties["location"],
        "examDate": exam.properties["exam_date"],
        "dominantHand": "right",
    }


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
    await connection.execute("delete from hubspot_mock_exams")
    await connection.executemany(
        "insert into hubspot_mock_exams (hubspot_id, mock_exam_name, mock_type, exam_date, start_time, end_time,"
        " location, capacity, is_active) values ($1, $2, $3, $4::text::date, $5, $6, $7, $8, 'active')",
        [(exam.exam_id, *(exam.properties[name] for name in COLUMNS), exam.seats) for exam in exams],
    )
    await connection.close()


def _database(url):
    return urlunsplit(urlsplit(url)._replace(path=f"/{DATABASE}"))
