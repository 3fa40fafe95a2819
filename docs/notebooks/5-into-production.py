# %% [markdown]
# # Into production
#
# A model that has been measured does not yet answer customers. This notebook covers the remaining steps: a final model trained on all data,
# its export, a service in a second process, requests with sessions and rules, two nightly updates, one of which must be refused, and the
# service's own metrics. It takes less than a minute.
#
# The log contains what some 1,000 households of *The Complete Journey* had bought by the evening of November 26.

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
    """Write the log as it is on the evening of a day, and return the file's name."""
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
# The first run holds out every household's newest items and is measured on them. The second run trains on everything, with the same
# settings and for as many epochs as validation chose. It can no longer be measured; its model card names the measured run.

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
print(f"measured: NDCG@10 {measured.metrics['F']['NDCG@10']:.4f}, after {measured.record.best_epoch} epochs")
size = sum(path.stat().st_size for path in exported.iterdir())
print(f"final: has learnt from {final.info.split}, for {final.record.epochs} epochs")
print(f"export: {size / 1e6:.1f} MB; answering with it needs no torch")

# %% [markdown]
# The export is read by onnxruntime. `live` is a symbolic link, and its target is all that ever changes in production.
#
# ## A second process
#
# `mclrec serve live` answers over HTTP. Here it is given two things: a table of the items, on whose columns requests may state rules, and a
# free port. A deployment behind a proxy, with keys and several processes, is described in [serving](../serving.md#behind-a-proxy).

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
    """The JSON of the answer, even if the request is refused."""
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
    except OSError:  # the service is not listening yet
        time.sleep(0.1)
model = ask("/model")
print("answers with", model["engine"], "with", model["items"], "items")

# %% [markdown]
# ## Requests
#
# A request contains a history. A shop that does not want to send the history each time can send events as they happen, and then only a
# session key. The session's items replace the history, and the answer is the same.

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
# **Rules** express what the shop wants, using columns of the table of items. Here: only items that are in stock and not frozen, a boost for
# sweets, and at most three items of a kind. The list is exact: it contains the best items that the rules allow.

# %%
rules = {
    "filter": {"in_stock": True, "kind": {"not": ["frozen"]}},
    "boost": [{"where": {"kind": "sweets"}, "factor": 3}],
    "diversify": {"kind": 3},
}
shown(ask("/recommend", {"session": "4f1c0a", "k": 6, **rules}))

# %% [markdown]
# A request that cannot be fulfilled is refused with a reason; nothing is guessed:

# %%
print(ask("/recommend", {"session": "4f1c0a", "filter": {"knd": "dairy"}})["detail"])

# %% [markdown]
# ## Two nights
#
# On the evening of December 3 the log is a week longer. `mclrec.update` continues training from the live model, compares the new model with
# it and with popularity on held-out items, trains the accepted model on everything, exports it, and points `live` to it. Meanwhile
# customers keep sending requests, and the service has to answer every one of them.

# %%
asked = []  # time of the request, latency, model
over = threading.Event()
began = time.perf_counter()


def customers():
    """Request recommendations one after the other, until `over` is set."""
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
# On the second night something goes wrong that no check of columns or types would detect: a faulty join has given each row the item of
# another row. The update is trained as usual, and then refused.

# %%
shuffle = np.random.default_rng(1)
broken = log_until("2017-12-10", change=lambda names: shuffle.permutation(names.to_numpy()))
second_night = mclrec.update(
    "live", broken, out="runs/2017-12-10", floor=floor, final=True, export="onnx", into="live", progress=False
)
print("accepted" if second_night.accepted else "refused")
for fault in second_night.judgement.faults:
    print("-", fault)
print("the link still points to the model of", Path("live").readlink().parent.name)

# %% [markdown]
# The plot shows what both decisions were based on: the difference between the new model and the earlier one, and between the new model and
# popularity, each with its 95 % confidence interval. A model is refused if it is significantly worse than the earlier one, if it is not
# above popularity, or if it is below the floor.

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
# Note what detected the damage. On a damaged log the earlier model does badly too, so the comparison with it shows little. It was the floor
# that refused the model, so it is worth setting one.
#
# The next plot shows what the customers noticed. Each point is an answer, and its colour is the model that gave it. The machine was busy
# with training all the time, and so was the process of this notebook, in which the simulated customers run. Any time beyond what the
# service itself measured (further below) was spent waiting in this process.

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
# The check before the switch uses held-out items of the same log. A check after the switch uses what was bought next, and takes a day:
# [a night in a shop](../nightly.md#a-night-in-a-shop) is a script that does both, and rolls back if necessary.
#
# ## Watching it
#
# The service publishes its metrics at `/metrics`, in Prometheus' format. [The deployment](../serving.md#in-containers) includes a Grafana
# dashboard and alerts; a few lines show what these are based on.

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
# Finally, the service is asked to shut down. It answers the requests that it has accepted and exits with status 0, as a supervisor expects.

# %%
service.send_signal(signal.SIGTERM)
print("status", service.wait(60))

# %% [markdown]
# **Next:** [serving](../serving.md) covers everything that was left out here, from keys to limits, and [every night](../nightly.md) shows
# updates by a timer, with a month of measurements.
