"""Tables of agreement with a published table."""

from fractions import Fraction

from ltbench.analysis.agreement import reference_tables
from ltbench.report.agreement_tables import agreement_tables

(TABLE,) = reference_tables()


def runs(recipe, methods):
    """Return runs in the published order, of the first rows of the table."""
    accuracies = TABLE.accuracies(TABLE.imbalance_ratio)
    return [
        {
            "dataset": "cifar10_r100",
            "dataset_name": "cifar10",
            "imbalance_ratio": 100.0,
            "split": "longtailed",
            "recipe": recipe,
            "subset": "all",
            "auxiliary": "",
            "overrides": "",
            "seed": 0,
            "method": row.method,
            "init_from": row.init_from,
            "acc": Fraction(accuracy),
            **{f"hp.{name}": value for name, value in row.hparams.items()},
        }
        for row, accuracy in zip(TABLE.rows[:methods], accuracies, strict=False)
    ]


def test_boards_stand_beside_the_tables_own_other_ratio():
    both, orders = agreement_tables(runs("fast", 5), runs("before", 4))
    assert [row[0].text for row in both.rows] == [each.published for each in TABLE.rows[:5]]
    titles = [row[0].text.partition(", ")[2] for row in orders.rows]
    numbers = [[cell.content for cell in row[1:4]] for row in orders.rows]
    assert titles == ["fast", "before", ""]
    assert numbers[:2] == [[5, 1, 1], [4, 1, 1]]
    intervals = [row[column].text for row in orders.rows for column in (4, 6)]
    assert intervals[:4] == ["1.0 to 1.0"] * 4, "no digits that other resamples would change"
    assert (orders.rows[0][7].text, orders.rows[0][8].content) == (TABLE.rows[0].published, 1)


def test_two_methods_have_no_order():
    assert agreement_tables(runs("fast", 2)) == []


def test_methods_that_all_tie_have_no_order():
    """As after so few epochs that each predicts a single class."""
    alike = [{**run, "acc": Fraction(10)} for run in runs("fast", 5)]
    assert agreement_tables(alike) == []
    assert len(agreement_tables(runs("before", 4), alike)[-1].rows) == 2
