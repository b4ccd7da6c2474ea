import subprocess
from pathlib import Path

import pytest
from launch.grids import quickstart

import ltbench
from ltbench.config.errors import ConfigError
from ltbench.data.errors import DataError
from ltbench.launch import session
from ltbench.launch.session import check_data, check_shares, check_writable, code_commit


@pytest.fixture(scope="module")
def jobs():
    return list(quickstart("seed=0", "variant=softmax").jobs.values())


def with_batch(job, batch):
    return job.model_copy(update={"recipe": job.recipe.model_copy(update={"batch": batch})})


def test_batches_that_devices_cannot_share_are_refused(jobs):
    check_shares(jobs, 4)
    with pytest.raises(ConfigError) as error:
        check_shares([*jobs, with_batch(jobs[0], 33), with_batch(jobs[1], 34)], 4)
    assert [str(problem) for problem in error.value.problems] == [
        f"--devices: 4 cannot share the batch of {batch} of recipe digits equally"
        for batch in (33, 34)
    ]


def test_data_that_is_there_is_fine(jobs):
    check_data(jobs, None)


def test_all_that_is_wrong_with_the_data_is_said(jobs):
    longtailed, balanced = jobs
    wanting = longtailed.dataset.model_copy(update={"largest": 200})
    other = balanced.dataset.model_copy(update={"fingerprint": "0" * 64})
    with pytest.raises(DataError) as error:
        check_data(
            [
                with_batch(longtailed, 32),
                with_batch(longtailed, 405),
                with_batch(balanced, 401),
                longtailed.model_copy(update={"dataset": wanting}),
                balanced.model_copy(update={"dataset": other}),
            ],
            None,
        )
    said = str(error.value)
    assert "405" not in said
    assert "the batch of 401 of recipe digits does not fit the 400 training images" in said
    assert "of digits_r20 balanced" in said
    assert "digits_r20 has no long-tailed split" in said
    assert "these are other images" in said


def test_the_batch_of_an_expert_has_to_fit_its_group(jobs):
    longtailed, _ = jobs
    expert = with_batch(longtailed.model_copy(update={"subset": "few"}), 25)
    check_data([longtailed, expert], None)
    with pytest.raises(DataError, match=r"of 26 .* the 25 training images of .*, few-shot classes"):
        check_data([longtailed, with_batch(expert, 26)], None)


def test_a_folder_is_made_and_left_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--out: .*runs cannot be written to: Not a directory"):
        check_writable(tmp_path / "file" / "runs")


def test_the_commit_is_that_of_the_code():
    root = Path(ltbench.__file__).parent.parent
    git = ["git", "-C", str(root), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True)
    if (root / ".git").exists() and head.returncode == 0:
        assert code_commit().removesuffix("+changes") == head.stdout.strip()
    else:
        assert code_commit() is None


def test_a_commit_is_marked_where_the_code_differs_from_it(tmp_path, monkeypatch):
    code = tmp_path / "ltbench" / "launch" / "session.py"
    (tmp_path / "configs").mkdir()
    code.parent.mkdir(parents=True)
    code.write_text("")

    def git(*words):
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", "-C", str(tmp_path), *author, *words], capture_output=True)
        return done.stdout.decode().strip()

    git("init")
    git("add", ".")
    git("commit", "--message", "all")
    head = git("rev-parse", "HEAD")
    monkeypatch.setattr(session, "__file__", str(code))
    (tmp_path / "notes.txt").write_text("no code")
    assert code_commit() == head
    code.write_text("changed")
    assert code_commit() == f"{head}+changes"
    git("commit", "--all", "--message", "more")
    (tmp_path / "configs" / "new.yaml").write_text("")
    assert code_commit() == f"{git('rev-parse', 'HEAD')}+changes"
