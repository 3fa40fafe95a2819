# %% [markdown]
# # Tuning and training within a budget
#
# Every model has a dozen settings, and nobody has time to try them all. This notebook shows three budgets: none, where settings follow from
# the sizes of the log; two minutes, in which a few candidates compete; and an open-ended search. All three decide by validation. The last
# part shows how misleading it would be to decide by the test items.
#
# The log and the model are small, so the notebook takes a minute. The steps are the same on a log with millions of rows.

# %%
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import mclrec
from mclrec.data.split import make_split
from mclrec.evaluation.metrics import per_user
from mclrec.recipes import resolve
from mclrec.recipes.auto import DataSizes
from mclrec.runs.recipe_choice import recipe_for, sizes_of
from mclrec.search.search_record import SearchRecord
from mclrec.wording import count_of as count

TEAL, ORANGE, GREY = "#00897b", "#e64a19", "#9e9e9e"
bundled = resources.files("mclrec.data") / "bundled" / "complete-journey.parquet"
rows = pd.read_parquet(bundled)
rows = rows[rows["household_id"] <= 400].rename(columns={"product_type": "item"}).drop(columns="position")
rows.to_csv("groceries.csv", index=False)
data = mclrec.load("groceries.csv")
print(f"{data.num_users} users, {data.num_items} items, {len(data.items):,} interactions")

# %% [markdown]
# ## No budget: settings that follow from the log
#
# `mclrec.train("groceries.csv")` does not search. The recipe `auto` looks at the sizes of the training part, and at how many users return
# to items that they already had. Each of its rules gives a reason, and a rule that was chosen on one log was tried on others: see
# [the rules and the evidence for them](../auto.md). Here are the settings for this log and for one of the size of Amazon's *Beauty*.

# %%
own = recipe_for("sasrec", data, sizes_of(make_split(data, "leave-one-out")))
beauty = DataSizes(users=22_363, items=12_101, longest=202, windows=22_500, interactions=153_776, returns=0.0)
other = resolve("sasrec", None, "auto", None, beauty)


def chosen(recipe):
    """The settings that the rules chose, with their reasons."""
    return {
        key: (value, choice.reason) for choice in recipe.choices for key, value in choice.settings.items()
    }


here = chosen(own)
there = other.config.model_dump() | other.training.model_dump()
pd.set_option("display.max_colwidth", None)
pd.DataFrame(
    {
        "groceries": {key: value for key, (value, _) in here.items()},
        "like Beauty": {key: there[key] for key in here},
        "why, for the groceries": {key: reason for key, (_, reason) in here.items()},
    }
)

# %% [markdown]
# Most differences have one cause: if a log has few users, an epoch has few steps. Small logs therefore get small batches, so that an epoch
# has about eight steps, and the patience of early stopping is set in steps. If an epoch has fewer than a hundred steps, the learning rate
# rises to a high peak and falls again once over the whole training; otherwise it is constant. The plots show both rules for logs of all
# sizes:

# %%
users = np.unique(np.geomspace(100, 300_000, 200).astype(int))
recipes = [
    resolve("sasrec", None, "auto", None, DataSizes(int(n), 5_000, 60, int(n), 9 * int(n), 0.0)).training
    for n in users
]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.plot(users, [one.batch_size for one in recipes], color=TEAL)
left.set(xscale="log", yscale="log", xlabel="users", title="Users in a batch")
left.set_yticks([16, 128, 1024], [16, 128, 1024])
right.plot(users, [one.learning_rate for one in recipes], color=ORANGE)
right.set(xscale="log", yscale="log", xlabel="users", title="Highest learning rate", ylim=(1e-3, 3e-2))
for axis in (left, right):
    axis.minorticks_off()
    axis.grid(alpha=0.3)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Two minutes: a race
#
# `minutes=2`, or `mclrec train groceries.csv --minutes 2`, lets other settings challenge the recipe by successive halving. Each candidate
# differs from the recipe in one respect. All candidates are trained for a few epochs, which is the first *rung*. The better half of them
# and the recipe continue to twice as many epochs, and so on, while epochs and time remain. No epoch is trained twice. If there is time for
# another full training, a new round begins around the winner.

# %%
SMALL = {"hidden_size": 32, "layers": 1}
run = mclrec.train(data, "sasrec", minutes=2, out="runs/race", progress=False, patience=4, epochs=24, **SMALL)
record = SearchRecord.load(run.directory)
rounds = len({rung.round for rung in record.rungs})
print(f"{count(rounds, 'round')}, {count(len(record.candidates), 'candidate')}: {record.verdict()}")
names = {one.number: one.name for one in record.candidates}
first_round = {f"{rung.epochs} epochs": rung.values for rung in record.rungs if rung.round == 1}
pd.DataFrame(first_round).rename(index=names).map(lambda value: "out" if np.isnan(value) else f"{value:.4f}")

# %% [markdown]
# The table shows the first round. Each number is the best mean of neighbouring epochs, because the value of a single epoch is too noisy: of
# two epochs in the first rung, and of up to five later, which is why a number may fall. A challenger wins only if it is more than half a
# percent better. If none is, the recipe is kept, and that is a result too.
#
# The next plot shows the whole search. Each line is a stretch of one candidate's training, which continues where its previous stretch
# ended. The dashed lines mark the ends of the rungs.

# %%
winner = record.winner or 1
colours = {number: TEAL if number == winner else ORANGE if number == 1 else GREY for number in names}
trained, clock = dict.fromkeys(names, 0), 0.0
figure, axis = plt.subplots(figsize=(10, 3.4))


def take_turn(number, until):
    """Plot the epochs for which a candidate is trained until it has reached a number of epochs."""
    global clock
    one = record.of(number)
    values = one.curve[trained[number] : until]
    seconds = clock + one.seconds * np.arange(1, len(values) + 1)
    axis.plot(seconds, values, "o-", markersize=4, color=colours[number])
    trained[number] += len(values)
    clock += one.seconds * len(values)


for rung in record.rungs:
    for number in rung.values:
        take_turn(number, rung.epochs)
    axis.axvline(clock + 0.3, color="black", linestyle="--", linewidth=0.7)
    axis.text(clock, 1.01, f"{rung.epochs}", transform=axis.get_xaxis_transform(), ha="center", fontsize=8)
for number in names:  # the winner is trained to the end
    take_turn(number, None)
label = "the winner: " + names[winner]
handles = (
    {label: TEAL, "others": GREY} if winner == 1 else {label: TEAL, "the recipe": ORANGE, "others": GREY}
)
axis.legend([plt.Line2D([], [], color=one, marker="o") for one in handles.values()], handles, fontsize=8)
axis.set(xlabel="seconds of training", ylabel=f"validation {record.metric}")
axis.set_title("epochs of the rung", fontsize=8, loc="left", pad=14)
axis.grid(alpha=0.3)
figure.tight_layout()
plt.show()
print(
    f"{sum(trained.values())} epochs in all; all candidates to the end of the recipe's would be {24 * len(names)}"
)

# %% [markdown]
# The run is like any other. Its command repeats the winner's training without the search, and its model card contains the table. If there
# is too little time to compare anything, only the recipe is trained, and the verdict says so.
#
# ## As long as one likes: a search
#
# `mclrec.tune` draws settings from a search space that the recipe defines ([details](../tuning.md#the-search-space)). The first trial is
# the recipe itself. The search prunes trials that are behind the others at the same epoch, can be stopped and continued, and shares its
# trials with every process that uses the same journal.

# %%
found = mclrec.tune(data, "sasrec", trials=8, seed=1, epochs=6, **SMALL)
trials = pd.DataFrame(
    [{"state": one.state, **one.settings, found.progress.metric: one.value} for one in found.progress.trials]
)
trials.round(4)

# %%
settings = list(found.plan.space)
done = trials[trials["state"] == "done"]
importance = pd.Series(found.importance).reindex(settings).fillna(0.0).sort_values()
figure, axes = plt.subplots(1, 1 + len(settings), figsize=(11, 2.8))
axes[0].barh([name.replace("_", " ") for name in importance.index], importance, color=ORANGE)
axes[0].set(title="importance")
for axis, setting in zip(axes[1:], settings, strict=True):
    axis.scatter(done[setting], done[found.progress.metric], color=TEAL)
    axis.set(title=setting.replace("_", " "), ylabel="" if axis is not axes[1] else found.progress.metric)
axes[1 + settings.index("learning_rate")].set_xscale("log")
figure.tight_layout()
plt.show()
best = found.progress.best
print(
    f"best of {len(done)} finished trials: trial {best.number}, {best.value:.4f}; the recipe: {trials.iloc[0, -1]:.4f}"
)

# %% [markdown]
# Importance is the share of the difference between good and bad trials that a setting explains. Eight trials are enough to plot it, but far
# too few to trust it; the default is fifty. `found.recipe` is a file with the best settings, and `found.command` trains with them and
# measures the result on the test items, once.
#
# ## Why nobody looks at the test
#
# Suppose that several settings are all equally good, and that we keep the one that does best on the test items. By luck alone, it will look
# better than the others. By how much? Two trainings that differ only in the seed show how much equally good models vary, user by user. From
# this variation follows how much the best of many appears to gain.

# %%
twins = [
    mclrec.train(data, "sasrec", seed=seed, out=f"runs/seed-{seed}", epochs=8, progress=False, **SMALL)
    for seed in (1, 2)
]
first, second = (per_user(twin.ranks("test", "F").ranks, "ndcg", 10) for twin in twins)
mean = (first.mean() + second.mean()) / 2
chance = (first - second).std() / np.sqrt(2 * len(first))  # standard error of one mean
draws = np.random.default_rng(1).normal(0, chance, (4000, 100))
tries = np.array([1, 2, 3, 5, 10, 20, 50, 100])
gain = np.array([draws[:, :count].max(axis=1).mean() for count in tries])

figure, axis = plt.subplots(figsize=(7, 3))
axis.plot(tries, 100 * gain / mean, "o-", color=ORANGE)
axis.set(
    xscale="log",
    xticks=tries,
    xticklabels=tries,
    xlabel="equally good settings, of which the best on the test is kept",
    ylabel="% of NDCG@10",
    title="What is gained by luck alone",
)
axis.grid(alpha=0.3)
figure.tight_layout()
plt.show()
print(
    f"{len(first)} users, NDCG@10 {mean:.4f}: the best of 20 equals looks {gain[tries == 20][0] / mean:.0%} better than it is"
)

# %% [markdown]
# Luck has the same effect on the validation numbers above. The winner of a search is a little worse than it looked, and its lead over the
# recipe has to be judged with this curve in mind. That does no harm as long as the reported number comes from items that played no part in
# any choice. Therefore `minutes` and `tune` never look at the test items, and the winner is measured on them once. Before you claim that
# one winner is better than another, check [whether the difference is more than chance](3-is-my-model-better.ipynb).
#
# **Next:** [the model goes into production](5-into-production.ipynb).
