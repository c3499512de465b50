"""``tessera attest`` and ``tessera verify``: keys from outside, times from git, exit codes."""

import json
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from flows.cli.main import main
from flows.services.attesting import commit_times, require_outside
from tessera_core.errors import InputError
from tessera_core.records.manifest import Manifest
from tests.unit.lineage.attest.built import EXPORT, World


def git(folder: Path, *arguments: str) -> str:
    date = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-01-01T02:00:00+02:00")
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, timeout=60, capture_output=True,
        text=True, env={**os.environ, **date},
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def world(repo, tmp_path):
    """A checkout under git with two versions and an export, all made by its one commit."""
    root = tmp_path / "checkout"
    root.mkdir()
    shutil.copy(repo / "params.yaml", root / "params.yaml")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "settings")
    world = World(root=root, commit=git(root, "rev-parse", "HEAD"))
    world.version("1")
    world.export(world.version("2"))
    return world


@pytest.fixture
def keys(tmp_path):
    """A signing key and its public key, beside the checkout."""
    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def attest(world, *arguments, expect=0):
    """Run the command; return the folders of attestations there are."""
    assert main(["attest", *arguments, "--root", str(world.root)]) == expect
    return sorted(world.paths.attestations.glob("*"))


@pytest.mark.parametrize(
    "subject", [[], ["2"], ["tessera/2"], [EXPORT], [f"data/exports/{EXPORT}"]]
)
def test_attest_takes_what_audit_takes(world, subject, monkeypatch):
    monkeypatch.chdir(world.root)

    [folder] = attest(world, *subject)

    is_export = not subject or EXPORT in subject[0]
    assert folder.name.startswith(EXPORT if is_export else "tessera-v2-")


def test_what_attest_signs_verify_accepts(world, keys, capsys):
    private, public = keys
    [folder] = attest(world, EXPORT, "--key", str(private))

    export = str(world.paths.exports / EXPORT)
    check = ["verify", str(folder), "--public-key", str(public), "--artifact", export]
    assert main(check) == 0
    said = capsys.readouterr().out
    assert "3 files of" in said
    assert f"they speak of {EXPORT}: tessera version " in said
    (folder / "model-card.md").write_text("a better model", encoding="utf-8")
    assert main(check) == 3
    assert "model-card.md" in capsys.readouterr().err


def test_a_key_beside_the_checkout_may_be_named_from_within(world, keys, monkeypatch):
    monkeypatch.chdir(world.root)

    [folder] = attest(world, "2", "--key", "../key.pem")

    assert Manifest.read(folder).facts["signed_by"]


def test_the_key_may_be_named_by_the_environment(world, keys, monkeypatch):
    monkeypatch.setenv("TESSERA_SIGNING_KEY", str(keys[0]))

    [folder] = attest(world, "tessera/2")

    assert len(Manifest.read(folder).facts["signed_by"]) == 64


def test_without_a_key_the_documents_are_written_and_said_to_be_unsigned(world, capsys):
    [folder] = attest(world, "2")

    assert folder.name.startswith("tessera-v2-")
    assert Manifest.read(folder).facts["signed_by"] is None
    assert "signed by    nobody" in capsys.readouterr().out


def test_no_content_of_the_key_is_written_or_said(world, keys, capsys):
    private = keys[0]
    secret = private.read_text(encoding="ascii").splitlines()[1]
    [folder] = attest(world, "1", "--key", str(private))

    printed = capsys.readouterr()
    assert secret not in printed.out + printed.err
    assert all(secret.encode() not in file.read_bytes() for file in folder.iterdir())


def test_a_key_in_the_checkout_is_refused_also_behind_a_link(world, keys, capsys):
    inside, link = world.root / "key.pem", world.root.parent / "link.pem"
    shutil.copy(keys[0], inside)
    link.symlink_to(inside)
    outward = world.root / "outward.pem"
    outward.symlink_to(keys[0])

    for key in (inside, link, outward):
        assert attest(world, "1", "--key", str(key), expect=2) == []
        assert "is inside the checkout" in capsys.readouterr().err
    with pytest.raises(InputError, match="keep it outside"):
        require_outside(inside, world.root)


def test_a_commit_has_the_time_that_git_knows_in_utc(world):
    assert commit_times([world.commit, "f" * 40, "unknown", "--all"], world.root) == {
        world.commit: "2026-01-01T00:00:00+00:00"
    }


def test_a_commit_that_is_not_here_is_said_and_leaves_out_what_needs_a_time(world, capsys):
    shutil.rmtree(world.root / ".git")
    git(world.root, "init", "-q")

    [folder] = attest(world, "1")

    assert f"commit {world.commit[:12]} is not in this checkout" in capsys.readouterr().out
    assert not (folder / "openlineage.jsonl").exists()


def test_an_unknown_version_is_bad_input(world, capsys):
    attest(world, "9", expect=2)

    assert "no version and no export tessera/9" in capsys.readouterr().err


@pytest.fixture
def lineage_server():
    """A server that keeps what is posted, and answers with the code that it is told."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.posted.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(server.code)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.posted, server.code = [], 201
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_lineage_is_sent_event_by_event_with_the_servers_key(
    world, lineage_server, monkeypatch, capsys
):
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "hush")

    [folder] = attest(world, "2", "--send", f"{lineage_server.url}/")

    written = [
        json.loads(line) for line in (folder / "openlineage.jsonl").read_bytes().splitlines()
    ]
    assert [event for _, _, event in lineage_server.posted] == written
    assert {(path, key) for path, key, _ in lineage_server.posted} == {
        ("/api/v1/lineage", "Bearer hush")
    }
    said = capsys.readouterr().out
    assert f"{len(written)} events to" in said
    assert "hush" not in said


def test_a_server_that_refuses_an_event_is_told_with_what_to_do(world, lineage_server, capsys):
    lineage_server.code = 503

    [folder] = attest(world, "2", "--send", lineage_server.url, expect=2)

    complaint = capsys.readouterr().err
    assert "did not take event 1 of" in complaint
    assert folder.name in complaint


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "lineage.example.org", "ftp://x", "", "http://[::1", "http://a b",
     "http://a\n", "https://"],
)  # fmt: skip
def test_only_a_web_server_can_be_sent_to_and_nothing_is_written_for_another(world, url, capsys):
    assert attest(world, "2", "--send", url, expect=2) == []

    assert "expected http:// or https://" in capsys.readouterr().err


def test_an_address_with_a_password_is_refused_and_not_repeated(world, capsys):
    assert attest(world, "2", "--send", "https://me:hush@example.org", expect=2) == []

    complaint = capsys.readouterr().err
    assert "OPENLINEAGE_API_KEY" in complaint
    assert "hush" not in complaint


def test_verify_says_what_it_wants_where_a_version_is_named(world, keys, capsys):
    assert main(["verify", "tessera/2", "--public-key", str(keys[1])]) == 2

    assert "expected one that `tessera attest` wrote" in capsys.readouterr().err


def test_a_certificate_that_cannot_be_read_is_told_with_what_to_do(world, capsys):
    world.paths.audit.mkdir(parents=True)
    (world.paths.audit / "manifest.json").write_bytes(b"\xff" * 20)

    attest(world, EXPORT, expect=2)

    assert "delete the folder, `tessera retrain` writes it again" in capsys.readouterr().err


def test_an_envelope_that_is_none_is_named(world, keys, capsys):
    [folder] = attest(world, "2", "--key", str(keys[0]))
    bundle = folder / "bundle.intoto.jsonl"
    for line in ('{"payloadType": 1, "payload": "\\u00e9", "signatures": []}', "[]", "5", "{"):
        number = len(bundle.read_bytes().splitlines())
        bundle.write_text(f"{line}\n" * number, encoding="utf-8")

        assert main(["verify", str(folder), "--public-key", str(keys[1])]) in (2, 3)
        assert "bundle.intoto.jsonl" in capsys.readouterr().err
