# %% [markdown]
# # From a csv to recommendations and a page
#
# A log states who did what and when, in three columns. This notebook goes from the rows of a log to recommendations that you can show to
# somebody, and looks at every step: what was read, how training went, whether the model is better than trivial ones, and what it
# recommends. It takes less than a minute.
#
# The log is a part of *The Complete Journey*, which comes with the package: what some 500 households bought at a grocery retailer in a
# year. Each product appears only once per household, when the household first bought it.

# %%
from importlib import resources

import matplotlib.pyplot as plt
import pandas as pd

import mclrec
from mclrec.runs.scoreboard import scoreboards

bundled = resources.files("mclrec.data") / "bundled" / "complete-journey.parquet"
rows = pd.read_parquet(bundled)
rows = rows[rows["household_id"] <= 500].rename(columns={"household_id": "user", "product_type": "item"})
rows = rows[["user", "item", "time"]]
rows.to_csv("groceries.csv", index=False)
rows.head()

# %% [markdown]
# ## What was read
#
# `mclrec.load` recognises the columns by their names, repeatedly removes users and items with fewer than five rows (5-core), and sorts each
# user's rows by time. None of this is done silently: `data.intake` contains every count, and `mclrec inspect groceries.csv` prints the
# counts together with warnings.

# %%
data = mclrec.load("groceries.csv")
print(f"{data.num_users} users, {data.num_items} items, {len(data.items):,} interactions")
print(f"fingerprint {data.fingerprint[:12]}: the same for the same data, whichever engine read them")

# %% [markdown]
# Two plots describe a log best. The lengths of the histories show how much is known about each user. The share of all interactions that
# belongs to the most popular items shows how far popularity alone would get.

# %%
lengths = rows.groupby("user").size()
shares = rows["item"].value_counts(normalize=True).cumsum()
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.hist(lengths, bins=35, color="#00897b")
left.set(xlabel="items in a history", ylabel="households", title="Most have 40: the file is cut there")
right.plot([100 * (place + 1) / len(shares) for place in range(len(shares))], 100 * shares, color="#00897b")
right.set(xlabel="% of items, most popular first", ylabel="% of interactions", title="A tenth has a third")
right.grid(alpha=0.3)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Training
#
# By default, `mclrec.train` trains MCLRec with settings that follow from the log's sizes (the recipe `auto`). To keep the notebook short,
# it is used here with the encoder alone, SASRec, and a fixed number of epochs. Each household's last item is held out for the test and the
# one before it for validation, which decides which epoch's weights are kept.

# %%
run = mclrec.train(data, "sasrec", seed=1, out="runs/groceries", epochs=20, progress=False)
epochs = pd.DataFrame(
    {
        "loss": epoch["losses"]["rec"],
        "validation": next(iter(epoch["metrics"].values())),
        "best": epoch["best"],
    }
    for epoch in run.history
)
figure, left = plt.subplots(figsize=(7, 3))
left.plot(epochs.index + 1, epochs["loss"], color="#9e9e9e", label="loss")
left.set(xlabel="epoch", ylabel="training loss")
right = left.twinx()
right.plot(epochs.index + 1, epochs["validation"], color="#00897b")
right.set(ylabel="validation NDCG@10")
best = int(epochs.index[epochs["best"]][-1])
right.plot(best + 1, epochs["validation"][best], "o", color="#e64a19")
left.set_title(f"The weights of epoch {best + 1} are kept")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Is it any good?
#
# Every run also measures popularity and a Markov chain (which items most often follow the last one) on the same targets. A model that does
# not beat these two is of no use, however low its loss. In this log, a product that a household has already bought cannot occur again, so
# the suitable protocol is **F**, which excludes the items of the history.

# %%
board = scoreboards(run)[0]  # the first one is of the protocol that suits the log
table = pd.DataFrame({one.model: one.metrics | {"low": one.low, "high": one.high} for one in board.scores}).T
table[["HR@10", "HR@20", "NDCG@10", "low", "high"]].astype(float).round(4)

# %% [markdown]
# *low* and *high* are the ends of the 95 % confidence interval of NDCG@10. With so few households the intervals overlap, so this is a start
# and not a proof. [Evaluation](../evaluation.md) explains how to compare models reliably.

# %% [markdown]
# ## Recommending
#
# A run's directory is the model: neither the log nor the training code is needed to use it. A history is a list of the log's items, oldest
# first.

# %%
model = mclrec.Model.load("runs/groceries")
history = ["TOMATO SAUCE", "SPAGHETTI DRY", "MEATBALLS"]
known = [item for item in history if item in set(model.items)]
answer = model.recommend(known, k=8)
pd.DataFrame(
    [(item, round(score, 3)) for item, score in answer],
    columns=["item", "score"],
    index=range(1, len(answer) + 1),
)

# %% [markdown]
# Why these items? `explain` leaves out one item of the history at a time, and reports how much lower the score of each recommended item is
# without it.

# %%
reasons = model.explain(known, items=[item for item, _ in answer][:4])
pd.DataFrame(
    {one.item: {reason.item: reason.difference for reason in one.because} for one in reasons}
).T.round(2)

# %% [markdown]
# ## A page
#
# `mclrec.write_report(run)` writes a single HTML file with tables, plots and examples, which needs no network.
# `mclrec serve runs/groceries` answers requests and has a page to try the model at http://127.0.0.1:8000.

# %%
report = mclrec.write_report(run, out="report.html")
loads = [word for word in ('src="http', '<link href="http') if word in report.read_text()]
print(f"{report.name}: {report.stat().st_size / 1e3:.0f} kB; it loads {len(loads)} files from elsewhere")

# %% [markdown]
# **Next:** [settings that follow from a log](../auto.md), [serving](../serving.md), and [the model that goes live](../nightly.md).
