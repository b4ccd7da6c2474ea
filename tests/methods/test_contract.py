"""The contract as a method's author reads it."""

import math
from textwrap import dedent

import pytest

from ltbench.methods import contract
from ltbench.methods.plugins import find_method
from ltbench.runs.run_dir import RunDirectory
from ltbench.training import fit
from tests.support.training_jobs import job, options


def example() -> str:
    lines = contract.__doc__.splitlines(keepends=True)
    return dedent("".join(line for line in lines if line.startswith("    ") or line == "\n"))


def test_the_example_trains_as_a_plugin(tmp_path):
    plugin = tmp_path / "my_focal.py"
    plugin.write_text(example())
    method, source = find_method("my_focal", [plugin])
    assert method.HParams().model_dump() == {"gamma": 2.0}
    fields = {"method": "my_focal", "version": 1, "plugin_hash": source, "hparams": {"gamma": 0.0}}
    planned = job(epochs=1)
    mine = planned.model_copy(update=fields)
    assert type(planned).model_fields.keys() >= fields.keys()
    run_dir = RunDirectory(tmp_path)
    record = fit.run_job(mine, run_dir, options(plugins=(str(plugin),)))
    plain = fit.run_job(planned, run_dir, options())  # cross-entropy is focal loss with gamma 0
    assert record.training.losses == pytest.approx(plain.training.losses)
    assert all(map(math.isfinite, record.training.losses))


def test_names_exist_and_hooks_are_explained():
    assert all(hasattr(contract, name) for name in contract.__all__)
    hooks = {name: hook for name, hook in vars(contract.Method).items() if callable(hook)}
    assert {name for name, hook in hooks.items() if not hook.__doc__} == set()
