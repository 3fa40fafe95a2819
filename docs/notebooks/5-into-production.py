# %% [markdown]
# # Into production
#
# A model that was measured is not yet one that answers customers. This notebook goes the rest of the way: a final model that has learnt from
# everything, its export, a service in a second process, requests with sessions and rules, two nights of updates, of which one must be
# refused, and what the service says of itself meanwhile. It takes less than a minute.
#
# The log is what some 1,000 households of *The Complete Journey* have bought by the evening of November 26.

# %%
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import mclrec

TEAL, ORANGE, GREY = "#00897b", "#e64a19", "#9e9e9e"
bundled = resources.files("mclrec.data") / "bundled" / "complete-journey.parquet"
rows = pd.read_parquet(bundled)
rows = rows[rows["household_id"] <= 1000].rename(columns={"household_id": "user", "product_type": "item"})
rows = rows[["user", "item", "time"]].sort_values("time", kind="stable")


def log_until(day, name="groceries.csv", change=None):
    """The log as it is in the evening of a day."""
    chosen = rows[pd.to_datetime(rows["time"], unit="s") < pd.Timestamp(day) + pd.Timedelta(days=1)].copy()
    if change is not None:
        chosen["item"] = change(chosen["item"])
    chosen.to_csv(name, index=False)
    return name


data = mclrec.load(log_until("2017-11-26"))
print(f"{data.num_users} users, {data.num_items} items, {len(data.items):,} interactions")

# %% [markdown]
# ## The model that goes live
#
# The first run holds out every household's newest items and is measured on them. The second one trains by the same settings, and for as many
# epochs as validation chose, on everything. It cannot be measured any more, and its card names the run that was.

# %%
measured = mclrec.train(
    data,
    "sasrec",
    seed=1,
    out="runs/measured",
    progress=False,
    hidden_size=32,
    layers=1,
    epochs=10,
    learning_rate=0.003,
    cycle=None,
)
final = mclrec.finalize(measured, out="runs/final", progress=False)
exported = mclrec.export(final)
Path("live").symlink_to("runs/final")
print(f"measured: NDCG@10 {measured.metrics['F']['NDCG@10']:.4f}, by {measured.record.best_epoch} epochs")
size = sum(path.stat().st_size for path in exported.iterdir())
print(f"final: has learnt from {final.info.split}, for {final.record.epochs} epochs")
print(f"export: {size / 1e6:.1f} MB; who answers by it needs no torch")

# %% [markdown]
# The export is what onnxruntime reads. `live` is a symbolic link, and all that ever changes in
# production is where it leads.
#
# ## A second process
#
# `mclrec serve live` answers over HTTP. Two things are given to it here: a table of the items, by whose columns requests may have rules, and a free
# port. A deployment behind a proxy, with keys and several processes, is in [serving](../serving.md#behind-a-proxy).

# %%
KINDS = {
    "meat": "BEEF|CHICKEN|PORK|TURKEY|SAUSAGE|HAM|BACON",
    "dairy": "CHEESE|MILK|YOGURT|BUTTER|CREAM",
    "frozen": "FROZEN|FRZN|ICE CREAM|POPSICLE",
    "sweets": "CANDY|CHOCOLATE|COOKIE|CAKE|SWEET",
}
items = pd.DataFrame({"item": sorted(rows["item"].unique())})
items["kind"] = "other"
for kind, words in KINDS.items():
    items.loc[items["item"].str.contains(words), "kind"] = kind
items["in_stock"] = np.random.default_rng(1).random(len(items)) < 0.9
items.to_csv("items.csv", index=False)

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]


def ask(path, body=None):
    """The JSON of an answer, also of a refusal."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", content, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        return json.load(refusal)


command = [sys.executable, "-m", "mclrec", "serve", "live", "--items", "items.csv", "--port", str(port)]
with Path("service.log").open("wb") as log:
    service = subprocess.Popen(command, stdout=log, stderr=log)
while service.poll() is None:
    try:
        ask("/ready")
        break
    except OSError:  # it does not listen yet
        time.sleep(0.1)
model = ask("/model")
print("answers by", model["engine"], "with", model["items"], "items")

# %% [markdown]
# ## Requests
#
# A request is a history. Where the shop would rather not send it each time, it sends events as they happen, and then a key: the session's items
# stand in for the history, and the answer is the same.

# %%
history = ["SPAGHETTI DRY", "TOMATO SAUCE", "MEATBALLS"]
history = [item for item in history if item in set(items["item"])]
by_history = ask("/recommend", {"history": history, "k": 6})
for item in history:
    ask("/events", {"session": "4f1c0a", "items": [item]})
by_session = ask("/recommend", {"session": "4f1c0a", "k": 6})
print("the same answer:", by_history["items"] == by_session["items"])


def shown(answer):
    """An answer as a table."""
    listed = pd.DataFrame(answer["items"], index=range(1, len(answer["items"]) + 1))
    return listed.merge(items, how="left").set_axis(listed.index).round(2)


shown(by_session)

# %% [markdown]
# **Rules** are the shop's own wishes, by columns of the table of items: only what is in stock and not frozen, at most three items of a
# kind, and a hand on the scales for sweets. The list is exact: the best items against which no rule speaks.

# %%
rules = {
    "filter": {"in_stock": True, "kind": {"not": ["frozen"]}},
    "boost": [{"where": {"kind": "sweets"}, "factor": 3}],
    "diversify": {"kind": 3},
}
shown(ask("/recommend", {"session": "4f1c0a", "k": 6, **rules}))

# %% [markdown]
# A wish that cannot be granted is refused with a reason, and nothing is guessed:

# %%
print(ask("/recommend", {"session": "4f1c0a", "filter": {"knd": "dairy"}})["detail"])

# %% [markdown]
# ## Two nights
#
# In the evening of December 3 the log is a week longer. `mclrec.update` goes on from the live model, compares the new one with it and with
# popularity on held-out items, trains it on everything, exports it, and lets `live` lead to it. In the meantime customers ask without a
# break, and the service has to answer each of them.

# %%
asked = []  # when, how long it took, by which model
over = threading.Event()
began = time.perf_counter()


def customers():
    """Ask for recommendations, one after the other, until all is over."""
    known = rows[rows["item"].isin(set(data.item_ids)) & (rows["time"] <= data.times.max())]
    histories = [group["item"].tolist()[-10:] for _, group in known.groupby("user")]
    number = 0
    while not over.wait(0.04):
        sent = time.perf_counter()
        answer = ask("/recommend", {"history": histories[number % len(histories)], "k": 10})
        asked.append((sent - began, 1000 * (time.perf_counter() - sent), answer.get("model", "failed")))
        number += 1


crowd = threading.Thread(target=customers)
crowd.start()
floor = {"ndcg@10": 0.55 * measured.metrics["F"]["NDCG@10"]}
first_night = mclrec.update(
    "live",
    log_until("2017-12-03"),
    out="runs/2017-12-03",
    floor=floor,
    final=True,
    export="onnx",
    into="live",
    progress=False,
)
reloaded = time.perf_counter() - began
answer = ask("/model/reload", {})
print("accepted" if first_night.accepted else first_night.judgement.faults)
print("the service has another model now:", answer["model"] != answer["before"])

# %% [markdown]
# In the second night something goes wrong that no check of columns or types would see: a join has given each row the item of another. The
# update is trained as ever, and then refused.

# %%
shuffle = np.random.default_rng(1)
broken = log_until("2017-12-10", change=lambda names: shuffle.permutation(names.to_numpy()))
second_night = mclrec.update(
    "live", broken, out="runs/2017-12-10", floor=floor, final=True, export="onnx", into="live", progress=False
)
print("accepted" if second_night.accepted else "refused")
for fault in second_night.judgement.faults:
    print("-", fault)
print("the link still leads to the model of", Path("live").readlink().parent.name)

# %% [markdown]
# What both nights were decided by: the difference of the new model from the earlier one and from popularity, with its 95 % interval. A
# model is refused if it is surely worse than the earlier one, if it is not above popularity, or if it is below the floor.

# %%
nights = {"December 3": first_night.judgement, "December 10": second_night.judgement}
figure, axis = plt.subplots(figsize=(8, 2.6))
labels = []
for night, judgement in nights.items():
    for rival in judgement.rivals:
        place = -len(labels)
        colour = TEAL if rival.low > 0 else ORANGE if rival.difference < 0 else GREY
        axis.plot([rival.low, rival.high], [place, place], color=colour, linewidth=3)
        axis.plot(rival.difference, place, "o", color=colour)
        labels.append(f"{night}: ahead of {'the ' if rival.name != 'popularity' else ''}{rival.name} by")
axis.axvline(0, color="black", linewidth=0.8)
axis.set(yticks=[-place for place in range(len(labels))], yticklabels=labels, xlabel="NDCG@10")
figure.tight_layout()
plt.show()

# %% [markdown]
# Note what found the damage. On a log that is wrong the earlier model is lost too, so that the comparison says little: the floor spoke. It
# is worth having one.
#
# And this is what the customers noticed of it: each point is an answer, its colour the model that gave it. The machine was busy with
# training all the time, and so was this notebook's own process, in which the customers live. Whatever took them longer than the service's
# own clock says, further below, they have waited here.

# %%
over.set()
crowd.join()
answers = pd.DataFrame(asked, columns=["second", "milliseconds", "model"])
figure, axis = plt.subplots(figsize=(8, 3))
names = {
    answer["before"]: "the first model",
    answer["model"]: "the model of December 3",
    "failed": "no answer",
}
for (name, group), colour in zip(answers.groupby("model", sort=False), (TEAL, ORANGE, "black"), strict=False):
    axis.scatter(group["second"], group["milliseconds"], s=5, color=colour, label=names[name])
axis.axvline(reloaded, color=GREY, linestyle="--", label="reload")
axis.set(yscale="log", xlabel="seconds", ylabel="milliseconds")
axis.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.18), frameon=False)
axis.grid(alpha=0.3)
figure.tight_layout()
plt.show()
print(f"{len(answers):,} requests, {int((answers['model'] == 'failed').sum())} failed")

# %% [markdown]
# The check before the exchange is by held-out items of the same log. The check after it is by what was bought next, and needs a day:
# [a night in a shop](../nightly.md#a-night-in-a-shop) is a script that does both, and rolls back.
#
# ## Watching it
#
# The service counts what it does at `/metrics`, in Prometheus' format. [The deployment](../serving.md#in-containers) brings a Grafana board and alerts; a few
# lines show what they are made of.

# %%
with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
    lines = page.read().decode().splitlines()
metrics = pd.Series(
    {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
)
watched = ("requests_total", "reloads_total", "unknown_items_total", "popular_answers_total", "sessions")
metrics[[name for name in metrics.index if name.split("{")[0].removeprefix("mclrec_") in watched]].astype(int)

# %%
buckets = metrics[
    metrics.index.str.startswith("mclrec_request_seconds_bucket{")
    & metrics.index.str.contains('"/recommend"')
]
limits = [float(name.split('le="')[1].split('"')[0]) for name in buckets.index]
order = np.argsort(limits)
finite = [place for place in order if np.isfinite(limits[place])]
share = buckets.to_numpy() / buckets.to_numpy().max()
figure, axis = plt.subplots(figsize=(7, 2.8))
axis.step(
    [1000 * limits[place] for place in finite],
    [100 * share[place] for place in finite],
    where="post",
    color=TEAL,
)
axis.set(xscale="log", xlabel="milliseconds in the service", ylabel="% of answers within", ylim=(0, 103))
axis.grid(alpha=0.3)
figure.tight_layout()
plt.show()

# %% [markdown]
# At the end the service is asked to leave. It answers what it has accepted and leaves with status 0, which is what a supervisor wants to see.

# %%
service.send_signal(signal.SIGTERM)
print("status", service.wait(60))

# %% [markdown]
# **Next:** [serving](../serving.md) with everything that was left out here, from keys to limits, and [every night](../nightly.md) as a timer, with
# a month of it measured.
