# %% [markdown]
# # Is my model better?
#
# One model reaches an NDCG@10 of .036, another .034. Is the first one better? The honest answer depends on four things: the protocol under
# which both were measured, the moments in time, how certain the difference is, and the users for whom it holds. This notebook examines them
# in turn, with models that train in seconds.

# %%
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import mclrec

bundled = resources.files("mclrec.data") / "bundled" / "complete-journey.parquet"
rows = pd.read_parquet(bundled)
rows = rows[rows["household_id"] <= 700].rename(columns={"product_type": "item"}).drop(columns="position")
rows.to_csv("groceries.csv", index=False)
data = mclrec.load("groceries.csv")
print(f"{data.num_users} users, {data.num_items} items")

# %%
runs = {
    f"{model}, seed {seed}": mclrec.train(
        data,
        model,
        seed=seed,
        out=f"runs/{model}-{seed}",
        progress=False,
        **({"epochs": 12} if model == "sasrec" else {}),
    )
    for model, seeds in {"markov": [1], "itemknn": [1], "sasrec": [1, 2]}.items()
    for seed in seeds
}

# %% [markdown]
# ## 1. By which protocol?
#
# The field ranks each held-out item among the whole catalogue in two ways. **U** keeps the items of the user's history as candidates, **F**
# excludes them. Neither is wrong, but they answer different questions, and their numbers must not be put into one table. The plot shows the
# same models on the same users under both:

# %%
protocols = pd.DataFrame(
    {name: {label: run.metrics[label]["NDCG@10"] for label in ("U", "F")} for name, run in runs.items()}
).T
axis = protocols.plot.bar(color=["#9e9e9e", "#00897b"], figsize=(7, 3), rot=0, ylabel="NDCG@10")
axis.set_title("The same models on the same users under both protocols")
plt.tight_layout()
plt.show()

# %% [markdown]
# This log contains only each household's first purchase of a product, so items of the history are never right, and F is the protocol that
# matters. `mclrec train` shows the protocol that suits the log first, depending on how many users return to their items.
#
# ## 2. How sure is the difference?
#
# A metric is a mean over users, and these users are a sample. Resampling them gives a confidence interval. For a *difference*, both models
# are compared user by user. Users who are hard for one model are mostly hard for the other, so this interval is much narrower than the two
# separate ones suggest.

# %%
compared = mclrec.compare(list(runs.values()), seen="drop", metric="ndcg@10")
for row in compared[1:]:
    print(row.claim)

# %%
effects = [row.finding.effect for row in compared[1:]]
labels = [row.label for row in compared[1:]]
figure, axis = plt.subplots(figsize=(7, 2.4))
for place, effect in enumerate(effects):
    difference = effect.difference
    axis.plot([difference.low, difference.high], [place, place], color="#00897b", linewidth=3)
    axis.plot(difference.mean, place, "o", color="#e64a19")
axis.axvline(0, color="#9e9e9e", linewidth=1)
axis.set(
    yticks=range(len(labels)),
    yticklabels=labels,
    xlabel="difference in NDCG@10 from markov, with its 95 % interval",
    ylim=(-0.6, len(labels) - 0.4),
)
figure.tight_layout()
plt.show()

# %% [markdown]
# Three rules follow, which `mclrec compare` applies automatically:
#
# - **Several comparisons are several chances.** If ten models are compared with an equally good one, the probability of a "significant"
#   difference by luck is about 40 % (independent tests, 5 % level). P-values are therefore corrected with Holm's method.
# - **A seed is a sample too.** Runs that differ only in the seed are combined into one system, and seeds are resampled as well as users.
# - **"Not significant" does not mean "equal".** The output also states how large a difference the test set could have shown.
#
# How much is luck alone? The two seeds of SASRec:

# %%
seeds = [run.metrics["F"]["NDCG@10"] for name, run in runs.items() if name.startswith("sasrec")]
print("NDCG@10 of the seeds:", np.round(seeds, 4), f"apart by {abs(seeds[0] - seeds[1]):.4f}")

# %% [markdown]
# ## 3. At which moment?
#
# Holding out each user's last item mixes all times: a model may be tested on a purchase of March after it was trained on other users'
# purchases of December. A model that goes live has to predict what comes after everything that it has seen. `mclrec.backtest` trains from
# scratch before each of several moments, and measures on what comes next.

# %%
found = mclrec.backtest(data, ["popularity", "markov", "itemknn"], cuts=3, progress=False)
over_time = pd.DataFrame({name: [value.mean for value in found.values[name]] for name in found.values})
axis = over_time.plot(marker="o", figsize=(7, 3), ylabel=found.metric)
axis.set_xticks(
    range(len(over_time)), ["leave-one-out", *(f"moment {number}" for number in range(1, len(over_time)))]
)
axis.grid(alpha=0.3)
plt.tight_layout()
plt.show()
print(found.verdict)

# %% [markdown]
# ## 4. For whom?
#
# A mean hides who gains and who loses. `mclrec.evaluate` divides the targets into slices, such as by the length of the history or (here) by
# the popularity of the target, and measures the trivial models on them too:

# %%
result = mclrec.evaluate(runs["sasrec, seed 1"], seen="drop", slices=True)
table = result.slices.to_arrow().to_pandas()
chosen = table[(table["by"] == "popularity") & (table["metric"] == "NDCG@10")]
slices = chosen.pivot(index="slice", columns="system", values="mean").reindex(chosen["slice"].unique())
axis = slices.plot.bar(figsize=(8, 3), rot=15, ylabel="NDCG@10", xlabel="popularity of the target")
axis.set_title("Every model lives on popular items, some more than others")
plt.tight_layout()
plt.show()

# %% [markdown]
# So, is it better? It is, if the difference holds under the protocol that suits the log, at later moments, beyond chance, and for the users
# who matter. [Evaluation](../evaluation.md) covers all of this, and how the lists of any other system are judged in the same way.
