import hashlib
import logging
import pickle

import pytest
import torch

from ltbench.training.checkpoint import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


def state(epoch, training="own"):
    return {"epoch": epoch, "training": training, "weights": torch.full((50,), float(epoch))}


def newest(folder):
    return max(folder.iterdir())


def load(folder):
    state = load_checkpoint(folder, CPU, "own")
    return None if state is None else state["epoch"]


def write(folder, epoch, data):
    """Write bytes as a checkpoint with their hash in its name."""
    digest = hashlib.sha256(data).hexdigest()[:16]
    (folder / f"epoch-{epoch:05d}-{digest}.pt").write_bytes(data)


def test_the_last_two_are_kept_and_the_newest_is_loaded(tmp_path):
    assert load(tmp_path) is None
    for epoch in (1, 2, 10):
        save_checkpoint(tmp_path, epoch, state(epoch))
    assert len(list(tmp_path.iterdir())) == 2
    assert load(tmp_path) == 10


@pytest.mark.parametrize("unusable", ["damaged", "of another training"])
def test_unusable_checkpoints_of_later_epochs_do_not_displace_new_ones(tmp_path, unusable):
    for epoch in (49, 50):
        save_checkpoint(tmp_path, epoch, state(epoch, "other"))
        if unusable == "damaged":
            newest(tmp_path).write_bytes(b"")
    for epoch in (1, 2, 3):
        save_checkpoint(tmp_path, epoch, state(epoch))
        assert load(tmp_path) == epoch
    assert len(list(tmp_path.iterdir())) == 4


def test_a_full_device_is_no_damage(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, state(1))

    def full(*args, **options):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(torch.OutOfMemoryError):
        load(tmp_path)


def test_steps_of_the_next_epoch_count(tmp_path):
    save_checkpoint(tmp_path, 3, state(3.0))
    save_checkpoint(tmp_path, 3, state(3.2), step=2)
    save_checkpoint(tmp_path, 3, state(3.1), step=1)
    assert load(tmp_path) == 3.2
    save_checkpoint(tmp_path, 4, state(4.0))
    assert load(tmp_path) == 4.0


@pytest.mark.parametrize("damage", ["empty", "cut", "first", "middle", "last"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path, caplog, damage):
    save_checkpoint(tmp_path, 1, state(1))
    save_checkpoint(tmp_path, 2, state(2), step=7)
    path = newest(tmp_path)
    data = bytearray(path.read_bytes())
    position = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}.get(damage)
    if position is None:
        data = data[: {"empty": 0, "cut": len(data) // 2}[damage]]
    else:
        data[position] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path) == 1
    assert f"checkpoint of epoch 2, step 7: {path.name}: " in caplog.text


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (type(self.target).touch, (self.target,))


def test_a_checkpoint_never_runs_code(tmp_path, caplog):
    folder, target = tmp_path / "checkpoints", tmp_path / "code_was_run"
    save_checkpoint(folder, 1, state(1))
    torch.save(Malicious(target), tmp_path / "zipped.pt")
    write(folder, 2, (tmp_path / "zipped.pt").read_bytes())
    write(folder, 3, pickle.dumps(Malicious(target)))
    pickle.loads(pickle.dumps(Malicious(target)))
    assert target.exists()  # it would have worked
    target.unlink()
    assert load(folder) == 1
    assert not target.exists()
    assert caplog.text.count("damaged checkpoint") == 2


def test_unreadable_checkpoints_are_skipped(tmp_path):
    save_checkpoint(tmp_path, 1, state(1))
    (tmp_path / f"epoch-00002-{'0' * 16}.pt").mkdir()
    (tmp_path / "epoch-00003-notes.pt").write_text("no checkpoint")
    assert load(tmp_path) == 1


def test_a_full_disk_keeps_earlier_checkpoints(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, state(1))

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path, 2, state(2))
    assert len(list(tmp_path.iterdir())) == 1
    assert load(tmp_path) == 1
