# %% [markdown]
# # From a csv to recommendations and a page
#
# A log says who did what and when: three columns. This notebook takes one from its rows to recommendations that can be shown to
# somebody, and looks at every step: what was read, how training went, whether the model is better than trivial ones, and what it
# recommends. It takes less than a minute.
#
# The log is a part of *The Complete Journey*, which comes with the package: what some 500 households bought at a grocery retailer in
# a year, each product the first time that they bought it.

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
# `mclrec.load` finds the columns by their names, removes users and items with fewer than five rows, until none is left, and sorts each
# user's rows by time. Nothing of that is done silently: `data.intake` has every count, and `mclrec inspect groceries.csv` prints the
# same with what to mind.

# %%
data = mclrec.load("groceries.csv")
print(f"{data.num_users} users, {data.num_items} items, {len(data.items):,} interactions")
print(f"fingerprint {data.fingerprint[:12]}: the same for the same data, whichever engine read them")

# %% [markdown]
# Two pictures say most about a log. How long histories are decides how much there is to go by for each user. How much of all
# interactions the most popular items have says how far one gets without any model.

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
# Without a further word `mclrec.train` takes MCLRec and settings that follow from the log's sizes (the recipe `auto`). Here it is
# its encoder alone, SASRec, with a fixed number of epochs, so that the notebook stays short. Each household's last item is kept
# for the test, the one before it for validation: that one decides which epoch's weights are kept.

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
# Every run measures popularity and Markov chains (what follows the last item most often) on the same targets. A model that does not
# beat these two is of no use, however low its loss. Items that a household has bought before cannot come again in this log, so the
# protocol that drops them, **F**, suits it.

# %%
board = scoreboards(run)[0]  # the protocol that suits the log first
table = pd.DataFrame({one.model: one.metrics | {"low": one.low, "high": one.high} for one in board.scores}).T
table[["HR@10", "HR@20", "NDCG@10", "low", "high"]].astype(float).round(4)

# %% [markdown]
# *low* and *high* are the 95 % interval of NDCG@10. With so few households they overlap: this is a start, and no proof.
# [Evaluation](../evaluation.md) is about that.

# %% [markdown]
# ## Recommending
#
# A run's directory is the model: it needs neither the log nor the code that trained it. A history is a list of items of the log, oldest
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
# Why these? `explain` leaves out one item of the history after the other and says how much lower the score of a recommended item is
# without it.

# %%
reasons = model.explain(known, items=[item for item, _ in answer][:4])
pd.DataFrame(
    {one.item: {reason.item: reason.difference for reason in one.because} for one in reasons}
).T.round(2)

# %% [markdown]
# ## A page
#
# `mclrec.write_report(run)` makes one HTML file with tables, plots, and examples that needs no network; `mclrec serve runs/groceries`
# answers requests and has a page to try it at http://127.0.0.1:8000.

# %%
report = mclrec.write_report(run, out="report.html")
loads = [word for word in ('src="http', '<link href="http') if word in report.read_text()]
print(f"{report.name}: {report.stat().st_size / 1e3:.0f} kB; it loads {len(loads)} files from elsewhere")

# %% [markdown]
# **Next:** [settings that follow from a log](../auto.md), [serving](../serving.md), and [the model that goes live](../nightly.md).
