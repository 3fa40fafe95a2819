"""Keys of RecBole's configurations: the setting that each maps to, or the reason why it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "COLUMNS",
    "COUNTED",
    "FAMILIES",
    "GENERAL",
    "IN_RECBOLE_ONLY",
    "MODELS",
    "OVERALL",
    "TRAINING",
    "USUAL_FIELDS",
    "Family",
]

MODELS: Mapping[str, str] = {
    "BERT4Rec": "bert4rec",
    "BPR": "bpr",
    "CL4SRec": "cl4srec",
    "Caser": "caser",
    "DuoRec": "duorec",
    "EASE": "ease",
    "GRU4Rec": "gru4rec",
    "ItemKNN": "itemknn",
    "MCLRec": "mclrec",
    "Pop": "popularity",
    "S3Rec": "s3rec",
    "SASRec": "sasrec",
}
"""Our names of the models of RecBole and of libraries built on it, keyed by their names."""

GENERAL = frozenset({"bpr", "itemknn", "ease", "popularity"})
"""Models for which RecBole splits at random by default, and excludes seen items from the lists."""

COLUMNS: Mapping[str, str] = {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "TIME_FIELD": "time"}
"""Keys that name columns, with the role of the column."""

USUAL_FIELDS: Mapping[str, str] = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "timestamp",
}
"""RecBole's default names of these columns."""

COUNTED = ("user_inter_num_interval", "item_inter_num_interval")
"""Keys of RecBole's k-core filter."""

TRAINING: Mapping[str, tuple[str, type]] = {
    "epochs": ("epochs", int),
    "train_batch_size": ("batch_size", int),
    "learning_rate": ("learning_rate", float),
    "weight_decay": ("weight_decay", float),
}
"""Training settings with a direct counterpart here, and the types of their values."""

OVERALL: Mapping[str, Any] = {
    "epochs": 300,
    "train_batch_size": 2048,
    "learning_rate": 0.001,
    "weight_decay": 0.0,
    "stopping_step": 10,
    "valid_metric": "MRR@10",
    "seed": 2020,
}
"""RecBole's defaults for training, used for keys missing from a file."""

_TRANSFORMER: dict[str, tuple[str, type]] = {
    "n_layers": ("layers", int),
    "n_heads": ("heads", int),
    "hidden_size": ("hidden_size", int),
    "inner_size": ("inner_size", int),
    "hidden_dropout_prob": ("dropout", float),
    "attn_dropout_prob": ("attention_dropout", float),
    "MAX_ITEM_LIST_LENGTH": ("max_length", int),
}
_SIZES: dict[str, Any] = {
    "n_layers": 2,
    "n_heads": 2,
    "hidden_size": 64,
    "inner_size": 256,
    "hidden_dropout_prob": 0.5,
    "attn_dropout_prob": 0.5,
    "MAX_ITEM_LIST_LENGTH": 50,
}
_ALWAYS: dict[str, Any] = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "initializer_range": 0.02}
_REGIME: dict[str, Any] = {"unit": "prefixes", "loss": "softmax"}
_CONTRAST: dict[str, Any] = {"sim": "dot"}


@dataclass(frozen=True, slots=True)
class Family:
    """Mapping of the keys of one model.

    Attributes:
        keys: settings by RecBole's keys, and the types of their values.
        defaults: RecBole's defaults for these keys.
        same: keys that are fixed here, with their only supported value.
        reasons: keys that are not supported, and why.
        regime: settings that reproduce RecBole's training regime.
    """

    keys: Mapping[str, tuple[str, type]]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    same: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    regime: Mapping[str, Any] = field(default_factory=dict)


_CE = {"loss_type": "CE"}
_PLACES = {**_REGIME, "positions": "oldest"}
_NO_PRETRAINING = "pre-training here uses only masked items; see --set pretrain_epochs"

FAMILIES: Mapping[str, Family] = {
    "sasrec": Family(_TRANSFORMER, _SIZES, _ALWAYS | _CE, regime=_PLACES),
    "mclrec": Family(
        _TRANSFORMER | {"lmd": ("lambda", float), "beta": ("beta", float)},
        _SIZES,
        _ALWAYS | _CE | _CONTRAST | {"tau": 1},
        regime=_PLACES,
    ),
    "duorec": Family(
        _TRANSFORMER | {"lmd_sem": ("lambda_supervised", float), "tau": ("contrast_temperature", float)},
        _SIZES,
        _ALWAYS | _CE | _CONTRAST | {"contrast": "us_x"},
        {"lmd": "the crossed contrast has only one weight, lmd_sem; see --set contrast=both"},
        _PLACES,
    ),
    "cl4srec": Family(
        _TRANSFORMER | {"lmd": ("lambda", float), "tau": ("contrast_temperature", float)},
        _SIZES,
        _ALWAYS | _CE | _CONTRAST,
        regime=_PLACES,
    ),
    "s3rec": Family(
        _TRANSFORMER | {"mask_ratio": ("mask_ratio", float)},
        _SIZES | {"mask_ratio": 0.2},
        _ALWAYS | _CE,
        dict.fromkeys(
            (
                "item_attribute", "aap_weight", "mip_weight", "map_weight", "sp_weight", "train_stage",
                "pretrain_epochs", "save_step", "pre_model_path",
            ),
            _NO_PRETRAINING,
        ),
        _PLACES,
    ),
    "bert4rec": Family(
        _TRANSFORMER | {"mask_ratio": ("mask_ratio", float), "ft_ratio": ("last_only", float)},
        _SIZES | {"hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2, "mask_ratio": 0.2, "ft_ratio": 0.5},
        _ALWAYS | _CE | {"transform": "mask_itemseq"},
    ),
    "gru4rec": Family(
        {
            "embedding_size": ("hidden_size", int),
            "hidden_size": ("inner_size", int),
            "num_layers": ("layers", int),
            "dropout_prob": ("dropout", float),
            "MAX_ITEM_LIST_LENGTH": ("max_length", int),
        },
        {
            "embedding_size": 64, "hidden_size": 128, "num_layers": 1, "dropout_prob": 0.3,
            "MAX_ITEM_LIST_LENGTH": 50,
        },
        _CE,
        regime=_REGIME,
    ),
    "caser": Family(
        {
            "embedding_size": ("hidden_size", int),
            "nv": ("vertical", int),
            "nh": ("horizontal", int),
            "dropout_prob": ("dropout", float),
        },
        {"embedding_size": 64, "nv": 4, "nh": 8, "dropout_prob": 0.4},
        {},
        {
            "loss_type": "Caser here has the paper's loss, binary cross-entropy with drawn negatives",
            "reg_weight": "its penalty applies only to some weights; --set weight_decay applies to all",
            "MAX_ITEM_LIST_LENGTH": "Caser reads windows of L items; use --set max_length",
        },
    ),
    "bpr": Family({"embedding_size": ("hidden_size", int)}, {"embedding_size": 64}),
    "itemknn": Family(
        {"k": ("neighbours", int), "shrink": ("shrink", float)}, {"k": 100, "shrink": 0.0}, {"knn_method": "item"}
    ),
    "ease": Family({"reg_weight": ("lambda", float)}, {"reg_weight": 250.0}),
    "popularity": Family({}),
}  # fmt: skip
"""Mappings of keys, by our names of the models."""

_FIELDS = "names a column that RecBole creates itself; it does not exist here"
_FEATURES = "only users, items and times are read"
_FILES = "the log is the first argument of the command, and --out names the run's folder"
_SHOWN = "only changes what is printed; a run here keeps all digits"
_MACHINES = "use --processes or torchrun for several processes"
_OLD = "RecBole 1.0 and later do not know it either; see user_inter_num_interval, val_interval and eval_args"

IN_RECBOLE_ONLY: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "NEG_PREFIX", "ITEM_LIST_LENGTH_FIELD", "LIST_SUFFIX", "POSITION_FIELD", "LABEL_FIELD",
            "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD", "RELATION_ID_FIELD", "ENTITY_ID_FIELD",
        ),
        _FIELDS,
    ),
    **dict.fromkeys(
        (
            "RATING_FIELD", "seq_len", "numerical_features", "unload_col", "unused_col", "additional_feat_suffix",
            "filter_inter_by_user_or_item", "alias_of_user_id", "alias_of_item_id", "alias_of_entity_id",
            "alias_of_relation_id", "preload_weight", "normalize_field", "normalize_all", "discretization",
            "kg_reverse_r", "entity_kg_num_interval", "relation_kg_num_interval", "fill_nan", "selected_features",
        ),
        _FEATURES,
    ),
    **dict.fromkeys(
        (
            "data_path", "dataset", "checkpoint_dir", "save_dataset", "dataset_save_path", "save_dataloaders",
            "dataloaders_save_path", "config_file", "config_files",
        ),
        _FILES,
    ),
    **dict.fromkeys(("loss_decimal_place", "metric_decimal_place", "state", "show_progress"), _SHOWN),
    **dict.fromkeys(
        ("nproc", "world_size", "ip", "port", "offset", "local_rank", "worker", "gpu_id"), _MACHINES
    ),
    **dict.fromkeys(
        (
            "min_user_inter_num", "max_user_inter_num", "min_item_inter_num", "max_item_inter_num", "lowest_val",
            "highest_val", "equal_val", "not_equal_val", "drop_filter_field", "leave_one_num", "split_ratio",
            "group_by_user", "eval_setting", "neg_sampling", "training_neg_sample_num", "real_time_process",
            "filter_inter_num",
        ),
        _OLD,
    ),
    "field_separator": "the separator is detected in the log",
    "seq_separator": "the separator is detected in the log",
    "threshold": "each row is an interaction; keep the high ones with --where \"rating >= 4\"",
    "benchmark_filename": "give the three files: TRAIN.inter --valid VALID.inter --test TEST.inter",
    "metrics": "hr, ndcg and mrr are always measured; other metrics come from `mclrec evaluate RUN --metrics all`",
    "topk": "lists are always measured at 5, 10 and 20",
    "eval_batch_size": "how many are ranked at once depends on the size of the catalogue",
    "clip_grad_norm": "gradients are not clipped",
    "enable_scaler": "products in bf16 need no scaling of gradients: --set precision=bf16",
    "require_pow": "the penalty is Adam's: --set weight_decay",
    "log_wandb": "use --track to log curves",
    "wandb_project": "use --track to log curves",
    "transform": "models here make their own batches",
}  # fmt: skip
"""Keys that are not supported for any model, and why."""
