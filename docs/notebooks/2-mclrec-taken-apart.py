# %% [markdown]
# # MCLRec taken apart
#
# MCLRec ([Qin et al., SIGIR 2023](https://arxiv.org/abs/2304.07763)) trains a sequence encoder by two losses at once: predict the next
# item, and recognise two distorted versions of one history as the same. What is new in it is who distorts. Beside random operators there
# are two small networks, the *augmenters*, which learn to make views of their own, and they are trained in turn with the encoder.
#
# This notebook follows one batch through [the model's file](../../src/mclrec/models/mclrec.py): its views, the augmenters, the three
# updates, and the regulariser *R*. It then trains twice, with and without *R*, and watches what happens to the views.

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
# Equation 4: of the three operators *crop* (keep a part in a row), *mask* (hide some) and *reorder* (shuffle a part), each history gets
# two different ones. A small model shows it on the beginning of one history. A masked place is 0: nobody attends to it.

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
    """A model as it is before training; the same weights each time."""
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
# The encoder makes *h1* and *h2* of the two views (equation 2). Each augmenter, three linear layers, makes one more of it: *z1* of *h1*,
# *z2* of *h2* (equation 5). So there are four versions of each history, and contrast compares four pairs of them: (h1, h2) in *L_cl1*, and
# (h1, z2), (h2, z1), (z1, z2) in *L_cl2* (equations 7 and 9).

# %%
with torch.no_grad():
    vectors = model.representations(batch.views)
{name: tuple(vector.shape) for name, vector in vectors.items()}

# %% [markdown]
# ## Three updates a batch
#
# The encoder minimises *L_0 = L_rec + lambda L_cl1 + beta L_cl2 + gamma R* (equation 14). Then the augmenters minimise *L_1 = L_cl2 +
# gamma R* (equation 15) against the encoder as it is by now, and then the encoder once more, on the same views. In the code that is one
# line of `phases`, and each update names the only parameters that its gradient reaches:

# %%
[(update.loss.__name__, update.group) for update in phase.updates]

# %% [markdown]
# This is the whole loop, as [the trainer](../../src/mclrec/training/trainer.py) has it but for what makes that one fast, resumable and
# distributed:


# %%
def train_step(model, optimisers, batch, step):
    """All updates of one batch; returns the value of each loss term."""
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
    """MCLRec is trained in a single phase."""
    [phase] = model.phases()
    return phase


def new_optimisers(model):
    """Adam, one for each group of parameters."""
    groups = model.parameter_groups()
    return {name: torch.optim.Adam(groups[name], lr=1e-3) for name in ("encoder", "augmenters")}


before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
values = train_step(model, new_optimisers(model), phase.collate(examples, np.arange(256), rng), 0)
pd.Series(values).round(3)

# %% [markdown]
# The losses of contrast begin near log of the number of negatives times the number of pairs: nothing is recognised yet. Everything has
# moved, the encoder twice and the augmenters once:

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
# *L_cl2* alone rewards augmenters whose views of one history agree and differ from all others, as sharply as can be. *R* (equations 10 to
# 13) pulls the other way: it lowers the similarity of positive pairs, raises that of negative ones, and closes the gap between the least
# similar positive pair and the most similar negative one. So views keep something that the encoder has to work for. How hard it pulls is
# *gamma*, and a tenth of *beta* is usual.
#
# Two measures show it ([Wang and Isola, 2020](https://arxiv.org/abs/2005.10242)), both on the unit sphere. *Alignment*: how far apart the
# two views of one history are. *Uniformity*: how evenly all of them are spread; the lower, the more evenly, and 0 if all are at one place.
# Both are watched in three small trainings that differ in the weight of *R* alone.

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
    """Train a new model, and measure it now and then."""
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
# The paper draws the views as points of the plane. Here are *z1* (full) and *z2* (open) of 60 histories along the two directions in which
# they differ most, with a line between the two views of each. `mclrec reproduce figure5` draws the same by t-SNE, from whole trainings
# and with these two measures beside it.

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
# With far too much of *R*, all views are at one place: positives and negatives are alike then, which is what it asks for. With the usual
# weight it holds back only a little.
#
# A hundred steps on a small log show what the terms do, and not which is better: for that,
# [whole trainings were compared](../results.md#r-helps), also with and without *R*, and what it gains is within chance. What such a comparison takes is the subject of
# [the next notebook](3-is-my-model-better.ipynb).
