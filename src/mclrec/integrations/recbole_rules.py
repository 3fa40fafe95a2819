"""Translation rules for keys of RecBole's configurations that are not plain settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mclrec.arguments import LARGEST_SEED
from mclrec.errors import ConfigError, quoted, unknown_name
from mclrec.integrations.recbole_intervals import condition, least_of
from mclrec.integrations.recbole_keys import COUNTED, OVERALL, USUAL_FIELDS
from mclrec.integrations.recbole_translation import Rule, Translation, number

__all__ = ["RULES"]

_METRICS = {"mrr": "mrr", "map": "mrr", "ndcg": "ndcg", "hit": "hr", "recall": "hr", "precision": "hr"}
"""RecBole's metrics for choosing an epoch, as ours: with one target per user, several of them choose the same epoch."""

_EVAL_ARGS = ("split", "order", "group_by", "mode")
_SPLIT = {"LS": "valid_and_test"}
_READ = "users, items, times and the columns of --where are read"


def _load_col(work: Translation, key: str, value: Any) -> None:
    files = value if isinstance(value, Mapping) else {}
    # A list, not a set: the file may hold any value, even an unhashable one, which is refused under its own key.
    used = [work.values.get(name) or usual for name, usual in USUAL_FIELDS.items()]
    inter = files.get("inter")
    listed = [str(one) for one in inter] if isinstance(inter, list) else []
    useless = [name for name in listed if name not in used] + [
        f"a file of {name}" for name in files if name != "inter"
    ]
    if useless:
        work.leave(key, f"{_READ}: {', '.join(useless)} would be read but not used")
    elif listed and work.values.get("TIME_FIELD", "timestamp") not in listed:
        work.leave(key, "the order of rows needs their time; use --file-order if rows are in order")
    else:
        work.say(key, _READ)


def _rm_dup_inter(work: Translation, key: str, value: Any) -> None:
    if value is None:
        work.say(key, "all rows are kept")
    elif value == "first":
        work.read_with(key, "drop_repeats", True)
        work.say(key, "--drop-repeats")
    else:
        work.leave(
            key, f"{quoted(value)}: only each user's first row with an item can be kept: --drop-repeats"
        )


def _val_interval(work: Translation, key: str, value: Any) -> None:
    if not value:
        work.say(key, "all rows are kept")
        return
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} = {quoted(value)}: should be a table of columns and intervals")
    parts = []
    for name, wanted in value.items():
        try:
            parts.append(condition(str(name), wanted))
        except ValueError as problem:
            raise ConfigError(f"{key}.{name}: {problem}") from None
    work.read_with(key, "where", " AND ".join(parts))
    work.say(key, f"--where '{work.options['where']}'")


def _user_inter_num_interval(work: Translation, key: str, value: Any) -> None:
    """Translate one of the two keys that correspond to a single option here."""
    try:
        least = {name: least_of(work.values.get(name)) for name in COUNTED}
    except ValueError as problem:
        try:
            least_of(value)
        except ValueError as own:
            work.leave(key, f"{own}; nothing is removed")
            return
        work.leave(key, f"nothing is removed, because of the other interval: {problem}")
        return
    users, items = (least[name] for name in COUNTED)
    if users != items:
        work.leave(
            key,
            f"--min-count is one number for both, not {users} for users and {items} for items; nothing is removed",
        )
        return
    work.read_with(key, "min_count", users)
    work.say(key, f"--min-count {users}")


def _stopping_step(work: Translation, key: str, value: Any) -> None:
    """Translate the patience: RecBole stops after more than that many epochs without improvement."""
    work.take(key, "patience", number(key, value, int) + 1)


def _eval_step(work: Translation, key: str, value: Any) -> None:
    work.same(key, value, 1)


def _valid_metric(work: Translation, key: str, value: Any) -> None:
    name, _, cut = str(value).partition("@")
    if name.lower() not in _METRICS or not cut.isdecimal() or not int(cut):
        work.leave(key, f"{quoted(value)} cannot choose the epoch here; {OVERALL[key].lower()} does")
        return
    work.take(key, "metric", f"{_METRICS[name.lower()]}@{int(cut)}")


def _valid_metric_bigger(work: Translation, key: str, value: Any) -> None:
    work.same(key, value, True)


def _seed(work: Translation, key: str, value: Any) -> None:
    seed = number(key, value, int)
    if not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"{key} = {quoted(value)}: should be from 0 to {LARGEST_SEED}")
    work.seed = seed
    work.say(key, f"--seed {seed}")


def _learner(work: Translation, key: str, value: Any) -> None:
    work.same(key, value, "adam")


def _use_gpu(work: Translation, key: str, value: Any) -> None:
    work.device = None if value else "cpu"
    work.say(key, f"--device {work.device or 'auto'}")


def _reproducibility(work: Translation, key: str, value: Any) -> None:
    work.same(key, value, True)


def _shuffle(work: Translation, key: str, value: Any) -> None:
    work.same(key, value, True)


def _enable_amp(work: Translation, key: str, value: Any) -> None:
    work.take(key, "precision", "auto" if value else "fp32")


def _repeatable(work: Translation, key: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{key} = {quoted(value)}: should be true or false")
    work.take(key, "seen", "keep" if value else "drop")


def _train_neg_sample_args(work: Translation, key: str, value: Any) -> None:
    if value is None or value == "None":
        work.say(key, "the softmax is over all items")
    elif (
        work.model == "bpr"
        and isinstance(value, Mapping)
        and value.get("distribution", "uniform") == "uniform"
    ):
        rest = sorted(map(str, value.keys() - {"distribution", "sample_num"}))
        work.take(key, "negatives", number(f"{key}.sample_num", value.get("sample_num", 1), int))
        for name in rest:
            work.leave(f"{key}.{name}", "negatives are drawn uniformly from all items")
    else:
        work.leave(key, "no items are drawn: the softmax is over all; see --set loss=sampled, gbce or bce")


def _eval_args(work: Translation, key: str, value: Any) -> None:
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} = {quoted(value)}: should be a table of {', '.join(_EVAL_ARGS)}")
    _hold_out(work, key, value.get("split", {"RS": "by default"}))
    given: dict[str, Callable[[Any], bool]] = {
        "order": lambda one: one == "TO",
        "group_by": lambda one: one == "user",
        "mode": lambda one: one != {} and all(part == "full" for part in _parts(one)),
    }
    said = {
        "order": "rows are in order of time",
        "group_by": "each user has targets",
        "mode": "all items are ranked",
    }
    for name, fits in given.items():
        if name in value:
            mine = f"{key}.{name}"
            work.say(mine, said[name]) if fits(value[name]) else work.leave(mine, f"{said[name]}, always")
    for name in value:
        if name not in _EVAL_ARGS:
            work.leave(f"{key}.{name}", unknown_name("key", name, _EVAL_ARGS))


def _parts(value: Any) -> list[Any]:
    """The values for validation and test, or the one for both."""
    return list(value.values()) if isinstance(value, Mapping) else [value]


def _hold_out(work: Translation, key: str, split: Any) -> None:
    if split == _SPLIT:
        work.say(f"{key}.split", "--split leave-one-out")
        return
    kind = next(iter(split), split) if isinstance(split, Mapping) else split
    why = (
        "is random: it trains on later rows than those it is measured on"
        if kind == "RS"
        else "has no equivalent in --split"
    )
    work.split_problem = (
        f"{key}: the split {quoted(kind)} {why}; write split: {{LS: valid_and_test}}, or use --split leave-one-out "
        "or --split time"
    )
    work.leave(f"{key}.split", f"the split {quoted(kind)} {why}")


RULES: Mapping[str, Rule] = {
    "load_col": _load_col,
    "rm_dup_inter": _rm_dup_inter,
    "val_interval": _val_interval,
    "user_inter_num_interval": _user_inter_num_interval,
    "stopping_step": _stopping_step,
    "eval_step": _eval_step,
    "valid_metric": _valid_metric,
    "valid_metric_bigger": _valid_metric_bigger,
    "seed": _seed,
    "learner": _learner,
    "use_gpu": _use_gpu,
    "reproducibility": _reproducibility,
    "shuffle": _shuffle,
    "enable_amp": _enable_amp,
    "repeatable": _repeatable,
    "train_neg_sample_args": _train_neg_sample_args,
    "eval_args": _eval_args,
    "item_inter_num_interval": _user_inter_num_interval,
}
"""The rules by key."""
