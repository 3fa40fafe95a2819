# %% [markdown]
# # MCLRec taken apart
#
# MCLRec ([Qin et al., SIGIR 2023](https://arxiv.org/abs/2304.07763)) trains a sequence encoder on two tasks at once: predicting the next
# item, and recognising two distorted versions of a history as the same. What is new is the source of the distortions. Besides random
# operators there are two small networks, the *augmenters*, which learn to make views of their own and are trained in turn with the encoder.
#
# This notebook follows one batch through [the model's file](../../src/mclrec/models/mclrec.py): its views, the augmenters, the three
# updates, and the regulariser *R*. It then trains small models with and without *R*, and shows what happens to the views.

# %%
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import mclrec
from mclrec.data.batches import Histories
from mclrec.data.split import make_split
from mclrec.experiments.view_plots import alignment, uniformity
from mclrec.models.mclrec import MCLRec, MCLRecConfig
from mclrec.models.phases import StepContext
from mclrec.nn.dropout import seed_dropout
from mclrec.randomness import Stream, generator

bundled = resources.files("mclrec.data") / "bundled" / "complete-journey.parquet"
rows = pd.read_parquet(bundled)
rows = rows.rename(columns={"product_type": "item"}).drop(columns="position")
data = mclrec.load(rows[rows["household_id"] <= 500])
training = make_split(data, "leave-one-out").training
print(f"{training.num_users} users, {training.num_items} items")

# %% [markdown]
# ## Two random views
#
# According to equation 4, two different operators out of three are drawn for each history: *crop* (keep a contiguous part), *mask* (hide
# some items) and *reorder* (shuffle a part). A small model shows this on the beginning of one history. A masked position has id 0, and no
# position attends to it.

# %%
COLOURS = ("#e64a19", "#00897b", "#5c6bc0")
SETTINGS = {
    "hidden_size": 32,
    "inner_size": 64,
    "max_length": 20,
    "dropout": 0.2,
    "attention_dropout": 0.2,
    "unit": "prefixes",
}


def new_model(**settings):
    """An untrained model, with the same weights each time."""
    torch.manual_seed(1)
    made = MCLRec(MCLRecConfig(**SETTINGS, **settings), training.num_items)
    return made.train()


model = new_model()
[phase] = model.phases()
examples = phase.examples(training)
rng = generator(1, Stream.VIEWS)
batch = phase.collate(examples, np.arange(9, 12), rng)
names = {place + 1: str(item).title() for place, item in enumerate(training.item_ids)}


def words(histories, row=0):
    """The items of one history."""
    start, end = histories.offsets[row : row + 2]
    return [names.get(int(item), "-") for item in histories.items[start:end]]


for title, histories in {
    "history": batch.histories,
    "view 1": batch.views[0],
    "view 2": batch.views[1],
}.items():
    print(f"{title:8}", " | ".join(words(histories)[-5:]))

# %% [markdown]
# ## Four vectors of one history
#
# The encoder maps the two views to *h1* and *h2* (equation 2). Each augmenter, a network of three linear layers, makes one more vector:
# *z1* from *h1*, *z2* from *h2* (equation 5). Of these four versions of each history, the contrastive losses compare four pairs: (h1, h2)
# in *L_cl1*, and (h1, z2), (h2, z1) and (z1, z2) in *L_cl2* (equations 7 and 9).

# %%
with torch.no_grad():
    vectors = model.representations(batch.views)
{name: tuple(vector.shape) for name, vector in vectors.items()}

# %% [markdown]
# ## Three updates a batch
#
# The encoder minimises *L_0 = L_rec + lambda L_cl1 + beta L_cl2 + gamma R* (equation 14). Then the augmenters minimise
# *L_1 = L_cl2 + gamma R* (equation 15) against the updated encoder; the code weights
# *R* by gamma / beta here, the same ratio to *L_cl2* as in *L_0*. Finally the encoder is updated again, on the same views. In the code,
# this is one line of `phases`, and each update names the only parameters that its gradient reaches:

# %%
[(update.loss.__name__, update.group) for update in phase.updates]

# %% [markdown]
# This is the whole training step, without what makes [the trainer](../../src/mclrec/training/trainer.py) fast, resumable and distributed:


# %%
def train_step(model, optimisers, batch, step):
    """Make all updates of one batch, and return the value of each loss term (the last, if a group is updated twice)."""
    values = {}
    for update in phase_of(model).updates:
        groups = model.parameter_groups()
        chosen = {id(parameter) for parameter in groups[update.group]}
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in chosen)
        seed_dropout(model, generator(1, Stream.DROPOUT, step))
        losses = update.loss(batch, StepContext())
        optimisers[update.group].zero_grad()
        sum(term.weight * term.mean for term in losses.values()).backward()
        optimisers[update.group].step()
        values |= {f"{update.group}/{name}": float(term.mean.detach()) for name, term in losses.items()}
    return values


def phase_of(model):
    """The phase of the training; MCLRec has only one."""
    [phase] = model.phases()
    return phase


def new_optimisers(model):
    """One Adam optimiser for each group of parameters."""
    groups = model.parameter_groups()
    return {name: torch.optim.Adam(groups[name], lr=1e-3) for name in ("encoder", "augmenters")}


before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
values = train_step(model, new_optimisers(model), phase.collate(examples, np.arange(256), rng), 0)
pd.Series(values).round(3)

# %% [markdown]
# If all inner products were equal, a contrastive loss would be log 511 = 6.2 per pair of views: one positive and 510 negatives for each
# row. Both losses begin higher, because *h1* and *h2* are not normalised and have large inner products with similar histories. All
# parameters have moved, those of the encoder twice and those of the augmenters once:

# %%
moved = {
    name: float((parameter - before[name]).detach().norm()) for name, parameter in model.named_parameters()
}
sizes = (
    pd.Series(moved)
    .groupby(lambda name: "augmenters" if name.startswith("augmenter") else "encoder")
    .agg(["count", "min"])
)
sizes.round(4)

# %% [markdown]
# ## What R does
#
# On its own, *L_cl2* rewards augmenters whose views of one history agree and differ from all others, as strongly as possible. *R*
# (equations 10 to 13) has the opposite effect: it lowers the similarity of positive pairs, raises that of negative pairs, and closes the
# gap between the least similar positive pair and the most similar negative one (in the official code, separately for each row). The views
# therefore keep something that the encoder has to work for. The weight of *R* is *gamma*, usually a tenth of *beta*.
#
# Two measures show this effect ([Wang and Isola, 2020](https://arxiv.org/abs/2005.10242)), both on the unit sphere. *Alignment* is how far
# apart the two views of a history are. *Uniformity* is how evenly all views are spread: lower values are more even, and 0 means that all
# views coincide. Both are measured in three small trainings that differ only in the weight of *R*.

# %%
shown = examples.inputs(generator(0, Stream.PICTURE).choice(len(examples), 400, replace=False))
fixed = [Histories.of(view) for view in model.viewer()(shown, generator(0, Stream.PICTURE))]


def measure(model):
    """Alignment and uniformity of the augmenters' views z1 and z2 of fixed histories, and the views."""
    model.eval()
    with torch.inference_mode():
        found = model.representations(fixed)
    model.train()
    z1, z2 = found["z1"].double().numpy(), found["z2"].double().numpy()
    return alignment(z1, z2), uniformity(np.concatenate([z1, z2])), z1, z2


def train(steps=120, every=20, **settings):
    """Train a new model, and measure it at regular intervals."""
    model = new_model(**settings)
    optimisers, phase, curve = new_optimisers(model), phase_of(model), []
    for step in range(steps + 1):
        if step % every == 0:
            *numbers, z1, z2 = measure(model)
            curve.append((step, *numbers))
        chosen = generator(1, Stream.ORDER, step).integers(len(examples), size=128)
        train_step(model, optimisers, phase.collate(examples, chosen, generator(1, Stream.VIEWS, step)), step)
    return pd.DataFrame(curve, columns=["step", "alignment", "uniformity"]), z1, z2


trained = {
    "without R": train(beta=0.1, regularizer="off"),
    "gamma = 0.1 beta": train(beta=0.1),
    "gamma = 5 beta": train(beta=0.1, gamma=0.5),
}

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3))
for axis, measured in zip(axes, ("alignment", "uniformity"), strict=True):
    for (name, (curve, _, _)), colour in zip(trained.items(), COLOURS, strict=True):
        axis.plot(curve["step"], curve[measured], label=name, color=colour)
    axis.set(xlabel="step", title=f"{measured} of z1 and z2")
    axis.grid(alpha=0.3)
axes[0].legend()
figure.tight_layout()
plt.show()
pd.DataFrame({name: curve.iloc[-1] for name, (curve, _, _) in trained.items()}).round(3)

# %% [markdown]
# ## Figures 2 and 5, live
#
# The paper plots the views as points in the plane. Here, *z1* (filled) and *z2* (hollow) of 60 histories are projected onto the two
# directions in which they vary most, with a line between the two views of each history. `mclrec reproduce figure5` plots the same with
# t-SNE, after full trainings, with these two measures.

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2))
for axis, (name, (_, z1, z2)), colour in zip(axes, trained.items(), COLOURS, strict=True):
    both = np.concatenate([z1[:60], z2[:60]])
    _, _, directions = np.linalg.svd(both - both.mean(0), full_matrices=False)
    flat = (both - both.mean(0)) @ directions[:2].T
    axis.plot([flat[:60, 0], flat[60:, 0]], [flat[:60, 1], flat[60:, 1]], color="#bdbdbd", linewidth=0.7)
    axis.scatter(*flat[:60].T, s=14, color=colour)
    axis.scatter(*flat[60:].T, s=14, facecolors="white", edgecolors=colour)
    axis.set(title=name, xticks=[], yticks=[])
figure.tight_layout()
plt.show()

# %% [markdown]
# With far too large a weight of *R*, all views almost coincide: positive and negative pairs are then equally similar, which is what *R*
# asks for. With the usual weight, the views are closer together than without *R*, but still distinct.
#
# A hundred steps on a small log show what the loss terms do, but not which setting is better. For that,
# [full trainings were compared](../results.md#r-helps), also with and without *R*; the gain from *R* is within chance.
# [The next notebook](3-is-my-model-better.ipynb) explains what such a comparison requires.
