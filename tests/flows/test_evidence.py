"""The team's home of evidence: records travel by content, and nothing wrong is stored."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from flows.adapters.evidence import HOME, fetch_evidence, find_home, share_evidence
from flows.context import load_context
from flows.services.evidence import evidence_of_team
from flows.settings import Settings
from tessera_core.errors import RecordError, RemoteError
from tessera_core.records.files import canonical_json, digest_json, write_atomically
from tessera_core.records.paths import Paths
from tessera_core.records.superseded import Superseded, stamp_superseded, superseded_by
from tests.flows.conftest import run_in

pytestmark = pytest.mark.timeout(180)


def checkout(folder: Path, *numbers: int) -> Paths:
    """A lineage with a record per number."""
    paths = Paths(root=folder, workspace=folder)
    for number in numbers:
        keep(paths, number)
    return paths


def keep(paths: Paths, number: int) -> Path:
    record = {"kind": "override", "number": number}
    path = paths.lineage / f"{digest_json(record)}.json"
    write_atomically(path, canonical_json(record))
    return path


def names(paths: Paths) -> set[str]:
    return {path.name for path in paths.lineage.rglob("*.json")}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that the team reaches."""
    return tmp_path / "team"


@pytest.fixture
def settings(home: Path) -> Settings:
    """Settings that name it."""
    return Settings().model_copy(update={"tessera_evidence": str(home)})


def use_remote(root: Path, url: str) -> None:
    """Make a checkout a DVC repository with this default remote."""
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text(
        f"[core]\n    remote = team\n['remote \"team\"']\n    url = {url}\n", encoding="utf-8"
    )


def test_two_checkouts_know_the_same_afterwards_and_a_second_time_nothing_moves(
    tmp_path: Path, settings: Settings
) -> None:
    first, second = checkout(tmp_path / "a", 1, 2), checkout(tmp_path / "b", 3)
    stamp = Superseded(digest="0" * 64, what="it", reason="bad", replaced_by="", recall="1" * 64)
    stamp_superseded([stamp], first.lineage)

    moved = [share_evidence(each, settings) for each in (first, second, first)]
    again = share_evidence(second, settings)

    assert [(each.sent, each.fetched) for each in moved if each] == [(4, 0), (1, 4), (0, 1)]
    assert again is not None
    assert (again.sent, again.fetched) == (0, 0)
    assert names(first) == names(second)
    assert superseded_by(second.lineage, "0" * 64) == stamp


def test_the_home_is_at_dvcs_default_remote_beside_the_data(tmp_path: Path, home: Path) -> None:
    first, second = checkout(tmp_path / "a", 1), checkout(tmp_path / "b")
    for each in (first, second):
        use_remote(each.root, str(home))

    share_evidence(first, Settings())
    share_evidence(second, Settings())

    assert names(first) == names(second) == {path.name for path in (home / HOME).iterdir()}


def test_an_address_that_is_no_folder_serves_as_well(tmp_path: Path) -> None:
    settings = Settings().model_copy(update={"tessera_evidence": f"memory://{tmp_path.name}/team"})
    first, second = checkout(tmp_path / "a", 1, 2), checkout(tmp_path / "b", 3)

    moved = [share_evidence(each, settings) for each in (first, second, first)]

    assert [(each.sent, each.fetched) for each in moved if each] == [(2, 0), (1, 2), (0, 1)]
    assert [each.is_new for each in moved if each] == [True, False, False]
    assert names(first) == names(second)


def test_a_bucket_serves_as_well_and_one_that_is_missing_is_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dvc_s3", reason="needs dvc-s3, which only users of S3 install")
    moto = pytest.importorskip("moto.server", reason="needs moto[server], a bucket on loopback")
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    try:
        boto3.client("s3", "us-east-1", endpoint_url=address).create_bucket(Bucket="team")
        paths = [
            checkout(tmp_path / name, *numbers) for name, numbers in (("a", (1, 2)), ("b", ()))
        ]
        for each in paths:
            use_remote(each.root, f"s3://team/data\n    endpointurl = {address}")
            share_evidence(each, Settings())
        astray = checkout(tmp_path / "c")
        use_remote(astray.root, f"s3://taem/data\n    endpointurl = {address}")
        with pytest.raises(RemoteError, match="bucket does not exist"):
            fetch_evidence(astray, Settings())
    finally:
        server.stop()

    assert names(paths[0]) == names(paths[1])


@pytest.mark.parametrize("url", ["../.dvc-remote", "https://example.invalid/data"])
def test_a_remote_that_no_other_checkout_can_share_is_no_home(tmp_path: Path, url: str) -> None:
    use_remote(tmp_path, url)

    assert find_home(tmp_path, Settings()) is None
    assert share_evidence(checkout(tmp_path, 1), Settings()) is None


def test_a_record_that_was_changed_at_the_home_is_named_and_never_stored(
    tmp_path: Path, home: Path, settings: Settings
) -> None:
    first, second = checkout(tmp_path / "a", 1, 2), checkout(tmp_path / "b")
    share_evidence(first, settings)
    changed = sorted(home.iterdir())[0]
    changed.write_bytes(changed.read_bytes().replace(b"override", b"overrule"))

    with pytest.raises(RecordError, match=changed.name):
        fetch_evidence(second, settings)

    assert names(second) == names(first) - {changed.name}


def test_a_record_that_was_cut_at_the_home_is_sent_again_by_whoever_has_it(
    tmp_path: Path, home: Path, settings: Settings
) -> None:
    first, second = checkout(tmp_path / "a", 1), checkout(tmp_path / "b")
    share_evidence(first, settings)
    [cut] = home.iterdir()
    cut.write_bytes(cut.read_bytes()[:5])

    share_evidence(first, settings)
    share_evidence(second, settings)

    assert names(second) == names(first)


def test_what_was_changed_in_a_checkout_or_is_no_record_is_never_sent(
    tmp_path: Path, home: Path, settings: Settings
) -> None:
    paths = checkout(tmp_path / "a", 1)
    keep(paths, 2).write_bytes(b"{}")
    (paths.lineage / "notes.json").write_bytes(b"{}")
    home.mkdir()
    (home / "notes.txt").write_bytes(b"of people")
    (home / f"..{'0' * 64}.json").write_bytes(b"no name of a record")

    share_evidence(paths, settings)

    sent = [path for path in home.iterdir() if len(path.stem) == 64]
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in sent] == [sent[0].stem]
    assert "notes.txt" not in names(paths)


def test_a_home_that_does_not_answer_is_no_empty_home(tmp_path: Path, home: Path) -> None:
    home.write_bytes(b"a file where a folder should be")
    paths = checkout(tmp_path / "a", 1)

    for place, told in (
        (f"{home}/below", "cannot be read"),
        ("nfs4x://server/share", "which cannot be used"),
    ):
        settings = Settings().model_copy(update={"tessera_evidence": place})
        with pytest.raises(RemoteError, match=told) as caught:
            fetch_evidence(paths, settings)
        assert caught.value.exit_code == 1


def test_a_remote_whose_library_is_missing_is_told_and_nothing_is_decided(tmp_path: Path) -> None:
    use_remote(tmp_path, "oss://bucket/data")

    with pytest.raises(RemoteError, match="TESSERA_EVIDENCE"):
        share_evidence(checkout(tmp_path, 1), Settings())


def test_a_decision_that_cannot_be_sent_holds_and_is_said(
    own_environment: None,
    root: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TESSERA_EVIDENCE", str(home))
    context = load_context(root)

    with evidence_of_team(context):
        decided = keep(context.paths, 1)
        home.write_bytes(b"the disk went away")

    told = capsys.readouterr().err
    assert decided.is_file()
    assert "recorded here, but not yet where the team looks" in told
    assert "`tessera sync` sends it" in told
    home.unlink()
    code, said, _ = run_in(root, capsys, "sync")
    assert (code, said) == (0, f"evidence  1 records sent, 0 fetched, at {home}\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("promote", "1", "--by", "Ann", "--reason", "seams"), 1),
        (("recall", "N0400"), 1),
        (("rebuild-tracking",), 1),
        (("attest", "tessera/1"), 1),
        (("sync",), 1),
        (("audit", "tessera/1"), 2),
    ],
)
def test_without_an_answer_of_the_home_no_decision_is_taken_and_an_audit_warns(
    own_environment: None,
    root: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
) -> None:
    home.write_bytes(b"no folder")
    monkeypatch.setenv("TESSERA_EVIDENCE", f"{home}/below")

    found, said, complaint = run_in(root, capsys, *words)

    assert (found, said) == (code, "")
    assert f"{home}/below, where the evidence of the team lies, cannot be read" in complaint
    assert not (root / "data" / "lineage").exists()


def test_without_a_home_sync_says_how_to_make_one(
    own_environment: None, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, complaint = run_in(root, capsys, "sync")

    assert code == 2
    assert "`dvc remote add -d team URL` makes one" in complaint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_may_only_be_read_serves_audits_and_refuses_decisions(
    tmp_path: Path, home: Path, settings: Settings
) -> None:
    share_evidence(checkout(tmp_path / "a", 1), settings)
    reader = checkout(tmp_path / "b", 2)
    home.chmod(0o555)

    fetched = fetch_evidence(reader, settings)

    assert fetched is not None
    assert fetched.fetched == 1
    with pytest.raises(OSError, match="cannot write"):
        share_evidence(reader, settings)
    home.chmod(0o755)
    shutil.rmtree(home)
